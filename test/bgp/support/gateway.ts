import type { UpdateMessage } from '../../../src/bgp/codec/messages.ts';
import type { BgpOptions } from '../../../src/bgp/index.ts';
import type { Address, Prefix } from '../../../src/model/address.ts';
import { MemoryNetwork, VirtualClock } from './memory.ts';
import { log, Node, port, updates } from './world.ts';

/** A gateway with three switches, each on a link of its own. */
export const NAMES = ['a', 'b', 'c'] as const;
export type Name = (typeof NAMES)[number];
export const SWITCH: Record<Name, Address> = {
  a: '192.0.2.2' as Address,
  b: '198.51.100.2' as Address,
  c: '203.0.113.2' as Address,
};
export const GATEWAY: Record<Name, Address> = {
  a: '192.0.2.1' as Address,
  b: '198.51.100.1' as Address,
  c: '203.0.113.1' as Address,
};
const V6: Record<Name, string> = { a: '2001:db8:a::', b: '2001:db8:b::', c: '2001:db8:c::' };
const ASN: Record<Name, number> = { a: 65001, b: 65002, c: 65003 };
export const HOST = '10.10.10.2' as Address;

export function scene(options: Partial<BgpOptions> = {}, present: readonly Name[] = ['a', 'b']) {
  const clock = new VirtualClock();
  const network = new MemoryNetwork(clock);
  const gateway = new Node(
    clock,
    network,
    GATEWAY.a,
    {
      asn: 65000,
      routerId: '10.255.0.254' as Address,
      prefixes: [],
      propagate: true,
      defaultOriginate: true,
      listen: { port: 179 },
      log,
      ...options,
    },
    NAMES.map((name) => ({
      address: SWITCH[name],
      remoteAs: ASN[name],
      passive: true,
      localAddress: GATEWAY[name],
    })),
    NAMES.map((name, index) => port(`g${name}`, index + 1, [GATEWAY[name], 24], [`${V6[name]}1`, 64])),
  );
  const nodes = Object.fromEntries(
    NAMES.map((name, index) => [
      name,
      new Node(
        clock,
        network,
        SWITCH[name],
        {
          asn: ASN[name],
          routerId: `10.255.0.${index + 1}` as Address,
          prefixes: ['10.10.0.0/16' as Prefix, '2001:db8:10::/64' as Prefix],
        },
        [{ address: GATEWAY[name], remoteAs: 65000 }],
        [port(`${name}0`, index + 1, [SWITCH[name], 24], [`${V6[name]}2`, 64])],
      ),
    ]),
  ) as Record<Name, Node>;
  gateway.speaker.start();
  for (const name of present) nodes[name].speaker.start();
  clock.advance(300);
  /** What the gateway's own connection to a switch has written since it was last asked. */
  const marks = new Map<Name, number>();
  const written = (name: Name): UpdateMessage[] => {
    const connection = network.connections.findLast((one) => one.open && one.remoteAddress === SWITCH[name])!;
    const all = connection.written.slice(marks.get(name) ?? 0);
    marks.set(name, connection.written.length);
    return updates(all, 65000);
  };
  const connectionTo = (name: Name) =>
    network.connections.findLast((one) => one.open && one.remoteAddress === SWITCH[name])!;
  return { clock, network, gateway, ...nodes, written, connectionTo, gatewayOf: (name: Name) => GATEWAY[name] };
}

export const learned = (node: Node) =>
  node.speaker
    .routes()
    .filter((one) => one.table === 'in')
    .map((one) => `${one.prefix} via ${one.nextHop} path ${one.asPath}`)
    .sort();
