import { readFileSync } from 'node:fs';
import { type Prefix, parseAddress, prefixContains } from '../model/address.ts';
import type { Diagnosis } from './diagnosis.ts';

/** Ports and addresses of this network namespace. */
export interface Box {
  readonly ports: ReadonlyMap<string, BoxPort>;
  /** By name of the port. */
  readonly addresses: ReadonlyMap<string, readonly { readonly address: string; readonly prefixLength: number }[]>;
  contains(prefix: Prefix, address: string): boolean;
}

export interface BoxPort {
  readonly name: string;
  readonly ifindex: number;
  readonly master: number;
  readonly kind: string | undefined;
  readonly mtu: number;
  readonly alias: string | undefined;
}

export async function readBox(): Promise<Box | Diagnosis> {
  try {
    const { Rtnetlink } = await import('rtnetlink-ts');
    const netlink = Rtnetlink.open();
    try {
      const links = await netlink.dumpLinks();
      const names = new Map(links.map((link) => [link.ifindex, link.name]));
      const addresses = new Map<string, { address: string; prefixLength: number }[]>();
      for (const { ifindex, address, prefixLength } of await netlink.dumpAddresses()) {
        const name = names.get(ifindex);
        if (name !== undefined) addresses.set(name, [...(addresses.get(name) ?? []), { address, prefixLength }]);
      }
      return { ports: new Map(links.map((link) => [link.name, link])), addresses, contains };
    } finally {
      netlink.close();
    }
  } catch (error) {
    return {
      check: 'ports',
      verdict: 'wrong',
      message: `the kernel's ports can't be read: ${(error as Error).message}`,
      remedy: 'Build the native part (./run build); in a container allow netlink.',
    };
  }
}

function contains(prefix: Prefix, text: string): boolean {
  const address = parseAddress(text);
  return address !== undefined && prefixContains(prefix, address);
}

/** The value of a numeric sysctl in this network namespace; undefined when the kernel doesn't have it. */
export function sysctl(name: string): number | undefined {
  // A port's name may hold dots (`bond0.100`), so only the separators before and after it become slashes.
  const conf = /^(net\.ipv[46]\.(?:conf|neigh))\.(.+)\.([^.]+)$/.exec(name);
  const path = conf ? `${conf[1]!.replaceAll('.', '/')}/${conf[2]}/${conf[3]}` : name.replaceAll('.', '/');
  try {
    return Number(readFileSync(`/proc/sys/${path}`, 'utf8'));
  } catch {
    return undefined;
  }
}
