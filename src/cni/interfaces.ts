/** The veth pair: one end in the container, the other on the host for the agent to take into the network's bridge. */
import { createHash } from 'node:crypto';
import { closeSync, openSync } from 'node:fs';
import { AF, makeRoute, NetlinkError, type Route, Rtnetlink, vethPeer } from 'rtnetlink-ts';
import { type Address, addressBytes, formatMac, type Mac } from '../model/address.ts';
import { CniError, CODE } from './errors.ts';
import type { ContainerRoute } from './pass-on.ts';
import type { Attachment } from './request.ts';

export interface Wiring {
  readonly hostName: string;
  readonly mac: Mac;
  readonly mtu: number;
  readonly address: Address;
  readonly prefixLength: number;
  readonly gateway?: Address;
  /** In the container, beside that of its network. */
  readonly routes: readonly ContainerRoute[];
}

/** The same for every call about one attachment. */
export function hostInterfaceName(attachment: Pick<Attachment, 'containerId' | 'ifname'>): string {
  return `plc${attachmentDigest(attachment)}`;
}

export function attachmentDigest({ containerId, ifname }: Pick<Attachment, 'containerId' | 'ifname'>): string {
  return createHash('sha256').update(`${containerId}/${ifname}`).digest('hex').slice(0, 12);
}

/** The host's end is there: an ADD has come so far, and no DEL since. */
export async function isConnected(attachment: Attachment): Promise<boolean> {
  const host = Rtnetlink.open();
  try {
    return (await host.getLink({ name: hostInterfaceName(attachment) })) !== undefined;
  } finally {
    host.close();
  }
}

/** Locally administered, and told from the address: a container that comes back with its address keeps its MAC. */
export function macOf(address: Address): Mac {
  const bytes = addressBytes(address);
  return formatMac(Uint8Array.of(0x0a, 0x58, ...bytes.subarray(bytes.length - 4)));
}

/** Makes the pair and dresses the container's end. Gives the host end's MAC. @throws CniError, NetlinkError */
export async function connect({ netns, ifname }: Attachment, wiring: Wiring): Promise<{ readonly hostMac: Mac }> {
  const host = Rtnetlink.open();
  try {
    const namespace = openNamespace(netns!);
    try {
      await host.addLink({
        name: wiring.hostName,
        mtu: wiring.mtu,
        kind: 'veth',
        kindData: vethPeer({ name: ifname, mtu: wiring.mtu, address: wiring.mac, netnsFd: namespace }),
      });
    } catch (error) {
      if (!(error instanceof NetlinkError) || error.code !== 'EEXIST') throw error;
      throw new CniError(CODE.invalidEnvironment, `${ifname} or ${wiring.hostName} is there already`, error.message);
    } finally {
      closeSync(namespace);
    }
    try {
      await dressContainer(netns!, ifname, wiring);
      const link = await host.getLink({ name: wiring.hostName });
      await host.setLink({ ifindex: link!.ifindex, up: true });
      return { hostMac: link!.address as Mac };
    } catch (error) {
      await host.deleteLink({ name: wiring.hostName });
      throw error;
    }
  } finally {
    host.close();
  }
}

async function dressContainer(netns: string, ifname: string, wiring: Wiring): Promise<void> {
  const inside = Rtnetlink.open({ netns });
  try {
    const link = await inside.getLink({ name: ifname });
    if (!link) throw new CniError(CODE.io, `${ifname} did not come up in ${netns}`);
    await inside.addAddress({
      family: AF.INET,
      ifindex: link.ifindex,
      address: wiring.address,
      prefixLength: wiring.prefixLength,
      scope: 0,
      flags: 0,
    });
    await inside.setLink({ ifindex: link.ifindex, up: true });
    for (const { dst, gw } of wiring.routes) {
      const nextHops = [{ ifindex: link.ifindex, ...(gw === undefined ? {} : { gateway: gw }) }];
      await inside.setRoute(makeRoute({ destination: dst, protocol: 4, nextHops }));
    }
  } finally {
    inside.close();
  }
}

/** Both ends go with one. Nothing there is no error. */
export async function disconnect(attachment: Attachment): Promise<void> {
  const host = Rtnetlink.open();
  try {
    await host.deleteLink({ name: hostInterfaceName(attachment) });
  } catch (error) {
    if (!(error instanceof NetlinkError) || error.code !== 'ENODEV') throw error;
  } finally {
    host.close();
  }
}

/** @throws CniError when something is missing or another than it was made */
export async function verify(
  { netns, ifname, ...rest }: Attachment,
  expected: { readonly address?: string; readonly mac?: string; readonly routes: readonly ContainerRoute[] },
): Promise<void> {
  const attachment = { ifname, ...rest };
  if (!(await isConnected(attachment))) {
    throw new CniError(CODE.changed, `${hostInterfaceName(attachment)} is gone from the host`);
  }
  const inside = Rtnetlink.open({ netns: netns! });
  try {
    const link = await inside.getLink({ name: ifname });
    if (!link) throw new CniError(CODE.changed, `${ifname} is gone from the container`);
    if (expected.mac !== undefined && link.address !== expected.mac.toLowerCase()) {
      throw new CniError(CODE.changed, `${ifname} has the MAC ${link.address}, not ${expected.mac}`);
    }
    const addresses = await inside.dumpAddresses({ ifindex: link.ifindex, family: AF.INET });
    const texts = addresses.map(({ address, prefixLength }) => `${address}/${prefixLength}`);
    if (expected.address !== undefined && !texts.includes(expected.address)) {
      throw new CniError(CODE.changed, `${ifname} has ${texts.join(', ') || 'no address'}, not ${expected.address}`);
    }
    const [missing] = missingRoutes(
      expected.routes,
      await inside.dumpRoutes({ family: AF.INET, table: RT_TABLE_MAIN }),
    );
    if (missing) {
      const way = missing.gw === undefined ? 'on the link' : `by ${missing.gw}`;
      throw new CniError(CODE.changed, `the route to ${missing.dst} ${way} is gone from the container`);
    }
  } finally {
    inside.close();
  }
}

const RT_TABLE_MAIN = 254;

/** By which device is not asked: who comes later in the chain of plugins may have moved them. */
export const missingRoutes = (
  expected: readonly ContainerRoute[],
  standing: readonly Pick<Route, 'destination' | 'nextHops'>[],
): ContainerRoute[] =>
  expected.filter(
    ({ dst, gw }) =>
      !standing.some(
        ({ destination, nextHops }) => destination === dst && nextHops.some(({ gateway }) => gateway === gw),
      ),
  );

function openNamespace(path: string): number {
  try {
    return openSync(path, 'r');
  } catch (error) {
    throw new CniError(CODE.unknownContainer, `there is no network namespace ${path}`, (error as Error).message);
  }
}
