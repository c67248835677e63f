import type { GatewaySettings, GroupSettings, HostSettings, TorSettings } from '../schema.ts';
import type {
  InstanceSettings,
  NetworkSettings,
  RemoteSettings,
  RuleSettings,
  ServiceSettings,
  SnatSettings,
} from '../schema-host.ts';

export type PartlyTor = Partial<Omit<TorSettings, 'portLink' | 'role'>> & {
  readonly role: 'tor';
  readonly portLink?: readonly (GroupSettings | undefined)[];
};

type PartlyGateway = Partial<Omit<GatewaySettings, 'role'>> & { readonly role: 'gateway' };

/** Of a list of things that have a name those that are right by themselves. */
interface PartlyLists {
  readonly networks?: readonly (NetworkSettings | undefined)[];
  readonly instances?: readonly (InstanceSettings | undefined)[];
  readonly remotes?: readonly (RemoteSettings | undefined)[];
  readonly services?: readonly (ServiceSettings | undefined)[];
  readonly snat?: readonly (SnatSettings | undefined)[];
  readonly policy?: { readonly rules: readonly (RuleSettings | undefined)[] };
}

export type PartlyHost = Partial<Omit<HostSettings, keyof PartlyLists | 'role'>> &
  PartlyLists & { readonly role: 'host' };

/** The sections that are right by themselves: any other is undefined here, and so is an item of a list. */
export type Partly = PartlyTor | PartlyGateway | PartlyHost;
