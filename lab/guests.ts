/**
 * A VM: a namespace with one address, plugged into the bridges of several servers (its hypervisors), of which one passes
 * its packets. It moves, falls silent or comes back by a change of that, in one message to the kernel; no carrier changes
 * anywhere, as none does when a hypervisor moves a VM.
 *
 *     net0 (bridge, has the address) --- p-C4 === v-V1 (in C4, on bond0)
 *                                    --- p-C1 === v-V1 (in C1, on bond0)
 */
import { AF, interfaceIndex, withNetns } from 'linux-sockets';
import { BR_STATE } from 'rtnetlink-ts';
import type { LabHost } from './cases/case.ts';
import { monotonic } from './monotonic.ts';
import { LinkSetter } from './netlink.ts';
import { run } from './processes.ts';
import { letAnnounce } from './servers.ts';
import type { LabState } from './state.ts';
import { batch, familySysctls, hostAddress6, PLAIN_BRIDGE, sysctl } from './topology/build.ts';
import { GATEWAY_ADDRESS, namespaceOf, type ServerName } from './topology/plan.ts';

export interface Guest extends LabHost {
  /** Where it can be. */
  readonly hypervisors: readonly ServerName[];
}

type Lab = Pick<LabState, 'name' | 'families'>;

/** @param mac the last octet of its MAC, different for each guest */
export const guest = (
  name: string,
  mac: string,
  addresses: Pick<LabHost, 'address' | 'address6'>,
  home: LabHost['home'],
  hypervisors: readonly ServerName[],
): Guest => ({
  name,
  ...addresses,
  mac: `02:00:00:00:01:${mac}`,
  home,
  node: name,
  device: 'net0',
  probed: true,
  hypervisors,
});

/** Makes it, silent. A guest of that name that is there already is removed first. */
export async function makeGuest(lab: Lab, { node, mac, address, address6, hypervisors }: Guest): Promise<void> {
  const namespace = namespaceOf(lab.name, node);
  await removeGuest(lab, node);
  await run(['ip', 'netns', 'add', namespace]);
  await sysctl(namespace, familySysctls(lab.families));
  await batch(namespace, [
    'link set lo up',
    `link add net0 address ${mac} ${PLAIN_BRIDGE}`,
    // As in a server's team: with a port that always forwards the bridge has carrier wherever the guest is.
    'link add keep type veth peer name keep0',
    'link set keep0 up',
    'link set keep master net0',
    'link set keep type bridge_slave isolated on learning off flood off',
    'link set keep up',
    ...hypervisors.flatMap((server) => [
      `link add p-${server} type veth peer name v-${node} netns ${namespaceOf(lab.name, server)}`,
      `link set p-${server} master net0`,
      `link set p-${server} type bridge_slave isolated on learning off flood on`,
      `link set p-${server} up`,
    ]),
    'link set net0 up',
    ...(address && lab.families.includes(4)
      ? [`address add ${address}/24 dev net0`, `route add default via ${GATEWAY_ADDRESS}`]
      : []),
    ...(address6 && lab.families.includes(6) ? hostAddress6(address6, 'net0') : []),
  ]);
  for (const server of hypervisors) {
    await batch(namespaceOf(lab.name, server), [
      `link set v-${node} master bond0`,
      `link set v-${node} type bridge_slave learning off flood on`,
      `link set v-${node} up`,
    ]);
  }
  placeGuest(lab, { node, hypervisors }, undefined);
}

/**
 * From now on its packets pass there, and nowhere else. It says nothing by itself (`moveGuest` has it say so).
 * @returns when, ms of CLOCK_MONOTONIC
 */
export function placeGuest(
  lab: Lab,
  { node, hypervisors }: Pick<Guest, 'node' | 'hypervisors'>,
  at: ServerName | undefined,
): number {
  const netns = namespaceOf(lab.name, node);
  const setter = new LinkSetter(netns, (errno) => console.error(`guest ${node}: errno ${errno}`));
  try {
    const ports = withNetns(netns, () =>
      hypervisors.map((server) => ({ ifindex: interfaceIndex(`p-${server}`), active: server === at })),
    );
    const begin = monotonic();
    setter.apply(
      ports
        .toSorted((left, right) => Number(left.active) - Number(right.active))
        .map(({ ifindex, active }) => ({
          family: AF.BRIDGE,
          ifindex,
          bridgePort: {
            state: active ? BR_STATE.FORWARDING : BR_STATE.LISTENING,
            locked: !active,
            unicastFlood: active,
            multicastFlood: active,
            broadcastFlood: active,
          },
        })),
    );
    return begin;
  } finally {
    setter.close();
  }
}

/** It moves (or comes) and says so, as a hypervisor says it for a VM that has moved. @returns when */
export function moveGuest(lab: Lab, guest: Guest, to: ServerName): number {
  const at = placeGuest(lab, guest, to);
  letAnnounce(lab.name, [guest], lab.families);
  return at;
}

export async function removeGuest(lab: Lab, node: string): Promise<void> {
  const namespaces = (await run(['ip', 'netns', 'list'])).split('\n').map((line) => line.split(' ')[0]);
  const namespace = namespaceOf(lab.name, node);
  if (namespaces.includes(namespace)) await run(['ip', 'netns', 'delete', namespace]);
}
