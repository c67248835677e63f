import type { GatewaySettings, GroupSettings, TorSettings } from '../schema.ts';

export type PartlyTor = Partial<Omit<TorSettings, 'portLink' | 'role'>> & {
  readonly role: 'tor';
  readonly portLink?: readonly (GroupSettings | undefined)[];
};

/** The sections that are right by themselves: any other is undefined here, and so is a port-link group. */
export type Partly = PartlyTor | (Partial<Omit<GatewaySettings, 'role'>> & { readonly role: 'gateway' });
