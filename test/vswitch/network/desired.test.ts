/** The layout as values: what is wanted of a table, and who could reach whom by it. */
import test from 'ava';
import fc from 'fast-check';
import { decodeNeighbour, decodeRoute, decodeRule, forEachMessage, type Link, MessageWriter } from 'rtnetlink-ts';
import type { Address, Prefix } from '../../../src/model/address.ts';
import { ipv4FromNumber, ipv4ToNumber, makePrefix, prefixContains } from '../../../src/model/address.ts';
import type { OverlayChange, OverlayState } from '../../../src/model/overlay.ts';
import { domainsOf, overlaps } from '../../../src/vswitch-bridge/slowpath/network/domains.ts';
import { writeRequests } from '../../../src/vswitch-bridge/slowpath/network/encode.ts';
import { Layout } from '../../../src/vswitch-bridge/slowpath/network/layout.ts';
import {
  bridgeName,
  isOurBridge,
  isOurTunnel,
  nextHopOf,
  routerMac,
  SHARED_TABLE,
} from '../../../src/vswitch-bridge/slowpath/network/names.ts';
import {
  byKey,
  difference,
  keyOf,
  type LayoutObject,
  type ObjectMap,
  type RouteObject,
  type RuleObject,
} from '../../../src/vswitch-bridge/slowpath/network/objects.ts';
import { readNeighbour, readRoute, readRule } from '../../../src/vswitch-bridge/slowpath/network/read.ts';
import { instance, MAC, network, overlay, type Parts, remote } from './overlay.ts';

const MTUS: Readonly<Record<string, number>> = { eth0: 1500, 'veth-small': 1300 };
const facts = { mtuOf: (device: string) => MTUS[device] };
const objectsOf = (state: OverlayState): LayoutObject[] => [...new Layout(state, facts).objects.values()];
const ofKind = <K extends LayoutObject['kind']>(state: OverlayState, kind: K) =>
  objectsOf(state).filter((object): object is Extract<LayoutObject, { kind: K }> => object.kind === kind);

const BLUE = network('blue', 100, '10.200.0.0/16', '10.200.0.1');

test('R1.1: a network is a bridge, a tunnel port and its instances’ devices; remotes are an entry of the tunnel each', (t) => {
  const state = overlay({
    networks: [BLUE],
    instances: [instance('c1', 'blue', '10.200.1.2', { mac: MAC('02:00:00:00:01:02') })],
    remotes: [remote('10.20.1.2', 'blue', '10.200.2.0/24'), remote('10.20.1.1', 'blue', '10.200.1.0/24')],
  });
  const bridge = 'plbr100';
  const other = '0e:50:0a:14:01:02';
  const table = SHARED_TABLE;
  t.deepEqual(
    sorted(byKey(objectsOf(state))),
    sorted(
      byKey([
        { kind: 'bridge', name: bridge, mac: MAC('0e:50:0a:14:01:01'), mtu: 65_450 },
        {
          kind: 'tunnel',
          name: 'pltn100',
          type: 'vxlan',
          bridge,
          vni: 100,
          local: '10.20.1.1' as Address,
          mtu: 65_450,
        },
        { kind: 'port', device: 'veth-c1', bridge },
        { kind: 'bridge-entry', device: 'veth-c1', mac: MAC('02:00:00:00:01:02') },
        { kind: 'address', device: bridge, address: '10.200.0.1' as Address, length: 16 },
        { kind: 'tunnel-entry', device: 'pltn100', mac: MAC('00:00:00:00:00:00'), to: '10.20.1.2' as Address },
        { kind: 'tunnel-entry', device: 'pltn100', mac: MAC(other), to: '10.20.1.2' as Address },
        { kind: 'bridge-entry', device: 'pltn100', mac: MAC(other) },
        { kind: 'neighbour', device: bridge, address: '10.20.1.2' as Address, mac: MAC(other) },
        { kind: 'route', table, destination: '10.200.0.0/16' as Prefix, metric: 100, device: bridge },
        {
          kind: 'route',
          table,
          destination: '10.200.2.0/24' as Prefix,
          metric: 50,
          device: bridge,
          via: '10.20.1.2' as Address,
          mtu: 1450,
        },
        { kind: 'rule', family: 4, priority: 20_202, table, output: bridge },
        { kind: 'rule', family: 4, priority: 20_203, table, input: 'lo', source: '10.200.0.1/32' as Prefix },
        { kind: 'rule', family: 4, priority: 20_204, table: 0, input: 'lo', source: '10.200.0.1/32' as Prefix },
        { kind: 'rule', family: 4, priority: 20_210, table, notInput: 'lo' },
      ]),
    ),
  );
});

test('a network without a gateway is switched and never routed', (t) => {
  const state = overlay({
    networks: [network('flat', 7, '10.1.0.0/16')],
    remotes: [remote('10.20.1.2', 'flat', '10.1.2.0/24')],
  });
  t.deepEqual(
    objectsOf(state).map(({ kind }) => kind),
    ['bridge', 'tunnel', 'tunnel-entry'],
  );
});

test('an instance that is here is not looked for behind the host that has its subnet', (t) => {
  const state = overlay({
    networks: [BLUE],
    instances: [instance('c1', 'blue', '10.200.2.9'), instance('c2', 'blue', '10.200.3.3')],
    remotes: [remote('10.20.1.2', 'blue', '10.200.2.0/24', '10.200.3.3/32')],
  });
  const routes = ofKind(state, 'route').map(({ destination, via }) => [destination, via]);
  t.deepEqual(routes, [
    ['10.200.0.0/16', undefined],
    ['10.200.2.0/24', '10.20.1.2'],
    ['10.200.2.9/32', undefined],
  ] as typeof routes);
});

test('of a prefix that two hosts have the lower has it; what is outside of the subnet is nobody’s', (t) => {
  const state = overlay({
    networks: [BLUE],
    remotes: [remote('10.20.1.3', 'blue', '10.200.2.0/24'), remote('10.20.1.2', 'blue', '10.200.2.0/24', '8.8.8.0/24')],
  });
  const remotes = ofKind(state, 'route').filter(({ via }) => via !== undefined);
  t.deepEqual(
    remotes.map(({ destination, via }) => `${destination} ${via}`),
    ['10.200.2.0/24 10.20.1.2'],
  );
});

test('what is routed must fit into the tunnel, or into the smallest instance', (t) => {
  const mtusOf = (parts: Parts) => ofKind(overlay({ networks: [BLUE], ...parts }), 'route').map(({ mtu }) => mtu);
  const remotes = [remote('10.20.1.2', 'blue', '10.200.2.0/24')];
  t.deepEqual(mtusOf({ remotes }), [undefined, 1450]);
  t.deepEqual(mtusOf({ remotes, underlay: '2001:db8::1' }), [undefined, 1430]);
  t.deepEqual(mtusOf({ remotes, instances: [instance('small', 'blue', '10.200.1.2')] }), [1300, 1450]);
});

test('R2.6: kinds of tunnels that know one other end have a port for each host, of their own names', (t) => {
  const hosts = Array.from({ length: 200 }, (_, at) => `10.20.${1 + (at >> 6)}.${2 + (at & 63)}`);
  for (const [encapsulation, type] of [
    ['geneve', 'geneve'],
    ['gre', 'gretap'],
    ['ipip', 'ipip'],
  ] as const) {
    const state = overlay({
      networks: [network('far', 16_777_215, '10.9.0.0/16', '10.9.0.1', { encapsulation })],
      remotes: hosts.map((host, at) => remote(host, 'far', `10.9.${at}.0/24`)),
    });
    const tunnels = ofKind(state, 'tunnel');
    t.is(new Set(tunnels.map(({ name }) => name)).size, hosts.length);
    for (const { name, type: made, bridge } of tunnels) {
      t.true(name.length <= 15 && isOurTunnel(name) && !isOurBridge(name));
      t.is(made, type);
      t.is(bridge, encapsulation === 'ipip' ? undefined : 'plbr16777215');
    }
    t.is(ofKind(state, 'tunnel-entry').length, 0);
    const ways = ofKind(state, 'route').filter(({ metric }) => metric === 50);
    t.is(ways.length, hosts.length);
    t.true(
      ways.every(({ device, via }) => (encapsulation === 'ipip' ? via === undefined && isOurTunnel(device!) : via)),
    );
  }
});

test('hosts of IPv6 underlays have router MACs and next hops too', (t) => {
  t.is(routerMac('2001:db8::a14:102' as Address) as string, '0e:50:0a:14:01:02');
  t.is(nextHopOf('2001:db8::a14:102' as Address, 4) as string, 'fe80::e50:a14:102');
  t.is(nextHopOf('10.20.1.2' as Address, 4) as string, '10.20.1.2');
  t.is(nextHopOf('10.20.1.2' as Address, 6) as string, 'fe80::e50:a14:102');
});

// ---------------------------------------------------------------------------------------------------------- properties

const subnet = fc
  .tuple(fc.integer({ min: 0, max: 3 }), fc.integer({ min: 0, max: 3 }), fc.constantFrom(14, 16, 17, 24))
  .map(([second, third, length]) => makePrefix(Uint8Array.of(10, second * 64, third * 64, 0), length));
const within = (prefix: Prefix, offset: number): Address =>
  ipv4FromNumber(ipv4ToNumber(prefix.split('/')[0] as Address) + offset);

const tables = fc
  .array(fc.record({ subnet, gateway: fc.boolean() }), { minLength: 1, maxLength: 6 })
  .chain((nets) =>
    fc.record({
      nets: fc.constant(nets),
      instances: fc.array(fc.tuple(fc.nat(nets.length - 1), fc.integer({ min: 2, max: 60 })), { maxLength: 8 }),
      remotes: fc.array(
        fc.tuple(fc.nat(nets.length - 1), fc.integer({ min: 2, max: 4 }), fc.integer({ min: 61, max: 120 })),
        { maxLength: 8 },
      ),
    }),
  )
  .map(({ nets, instances, remotes }) =>
    overlay({
      networks: nets.map(({ subnet, gateway }, at) =>
        network(`n${at}`, 100 + at, subnet, gateway ? within(subnet, 1) : undefined),
      ),
      instances: instances.map(([at, offset], number) =>
        instance(`i${number}`, `n${at}`, within(nets[at]!.subnet, offset)),
      ),
      remotes: remotes.map(([at, host, offset]) =>
        remote(`10.20.1.${host}`, `n${at}`, `${within(nets[at]!.subnet, offset)}/32`),
      ),
    }),
  );

test('R1.1: networks share a table if, and only if, they overlap no other', (t) => {
  fc.assert(
    fc.property(tables, ({ networks }) => {
      const { shared, isolated } = domainsOf(networks.values());
      for (const one of networks.values()) {
        const others = [...networks.values()].filter((each) => each !== one && each.gateway !== undefined);
        const meets = others.filter((each) => overlaps(each.subnet, one.subnet)).map(({ name }) => name);
        if (one.gateway === undefined) t.false(shared.has(one.name) || isolated.has(one.name));
        else if (meets.length === 0) t.true(shared.has(one.name) && !isolated.has(one.name));
        else t.true(!shared.has(one.name) && meets.includes(isolated.get(one.name)!));
      }
    }),
  );
});

const sorted = (objects: ObjectMap): LayoutObject[] =>
  [...objects].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, object]) => object);

/** The kernel's way of looking up a forwarded packet: rules by priority, the longest prefix, the smallest metric. */
function forward(objects: ObjectMap, input: string, destination: Address): string {
  const rules = [...objects.values()]
    .filter((object): object is RuleObject => object.kind === 'rule')
    .sort((a, b) => a.priority - b.priority);
  const routes = [...objects.values()].filter((object): object is RouteObject => object.kind === 'route');
  for (const rule of rules) {
    const matches =
      (rule.input === undefined || rule.input === input) &&
      (rule.notInput === undefined || rule.notInput !== input) &&
      rule.output === undefined &&
      rule.mark === undefined &&
      rule.source === undefined;
    if (!matches) continue;
    const [route] = routes
      .filter(({ table, destination: prefix }) => table === rule.table && prefixContains(prefix, destination))
      .sort((a, b) => Number(b.destination.split('/')[1]) - Number(a.destination.split('/')[1]) || a.metric - b.metric);
    if (route) return route.device === undefined ? 'unreachable' : `${route.device} ${route.via ?? 'here'}`;
  }
  return 'outside';
}

test('R1.1 R1.2: a packet reaches another network if their addresses are one’s own each, and never a network that it was not for', (t) => {
  fc.assert(
    fc.property(tables, (state) => {
      const { objects, domains } = new Layout(state, facts);
      const routed = [...state.networks.values()].filter(({ gateway }) => gateway !== undefined);
      for (const from of routed) {
        const input = bridgeName(from.vni);
        for (const to of routed) {
          const own = from === to;
          const meets = !own && overlaps(from.subnet, to.subnet);
          const open = own || (domains.shared.has(from.name) && domains.shared.has(to.name));
          for (const { address, network: name } of state.instances.values()) {
            if (name !== to.name) continue;
            const way = forward(objects, input, address);
            if (open) t.is(way, `${bridgeName(to.vni)} here`);
            else if (meets) t.true(way === 'outside' || way.startsWith(`${input} `) || way === 'unreachable');
            else t.is(way, 'unreachable');
          }
        }
        for (const { network: name, host, addresses } of state.remotes.values()) {
          const to = state.networks.get(name)!;
          if (to.gateway === undefined || !(from === to || (domains.shared.has(from.name) && domains.shared.has(name))))
            continue;
          for (const address of addresses.map((prefix) => prefix.split('/')[0] as Address)) {
            const others = [...state.remotes.values()].some(
              (each) =>
                each.network === name &&
                each.host < host &&
                each.addresses.some((prefix) => prefixContains(prefix, address)),
            );
            if (!others) t.is(forward(objects, input, address), `${bridgeName(to.vni)} ${host}`);
          }
        }
        t.is(forward(objects, input, '192.0.2.1' as Address), 'outside');
      }
    }),
  );
});

test('step by step the layout becomes what it is at once, and differences lead from one to the next', (t) => {
  fc.assert(
    fc.property(fc.array(tables, { minLength: 2, maxLength: 4 }), (states) => {
      const layout = new Layout(states[0]!, facts);
      let kernel = new Map(layout.objects);
      for (let at = 1; at < states.length; at++) {
        const { write, remove } = layout.apply(states[at]!, changesBetween(states[at - 1]!, states[at]!));
        kernel = new Map(kernel);
        for (const object of remove) kernel.delete(keyOf(object));
        for (const object of write) kernel.set(keyOf(object), object);
        t.deepEqual(sorted(kernel), sorted(new Layout(states[at]!, facts).objects));
        t.deepEqual(sorted(layout.objects), sorted(kernel));
      }
    }),
    { numRuns: 60 },
  );
});

function changesBetween(before: OverlayState, after: OverlayState): OverlayChange[] {
  const changes: OverlayChange[] = [];
  for (const [kind, one, other] of [
    ['network', before.networks, after.networks],
    ['instance', before.instances, after.instances],
    ['remote', before.remotes, after.remotes],
  ] as const) {
    for (const [key, item] of one) {
      if (JSON.stringify(other.get(key)) !== JSON.stringify(item))
        changes.push({ kind, op: 'removed', item } as OverlayChange);
    }
    for (const [key, item] of other) {
      if (JSON.stringify(one.get(key)) !== JSON.stringify(item))
        changes.push({ kind, op: 'added', item } as OverlayChange);
    }
  }
  return changes;
}

test('one instance more is two messages, whatever else stands', (t) => {
  const many = Array.from({ length: 500 }, (_, at) => instance(`i${at}`, 'blue', within(BLUE.subnet, 100 + at)));
  const state = overlay({ networks: [BLUE], instances: many });
  const layout = new Layout(state, facts);
  const item = instance('new', 'blue', '10.200.9.9', { mac: MAC('02:00:00:00:00:09') });
  const more = overlay({ networks: [BLUE], instances: [...many, item] });
  const { write, remove } = layout.apply(more, [{ kind: 'instance', op: 'added', item }]);
  t.deepEqual(
    write.map(({ kind }) => kind),
    ['port', 'bridge-entry'],
  );
  t.is(remove.length, 0);
});

test('what is written to the kernel is read from it as the same', (t) => {
  const numbers = new Map<string, number>();
  const ifindex = (name: string): number => {
    if (!numbers.has(name)) numbers.set(name, numbers.size + 2);
    return numbers.get(name)!;
  };
  const linkOf = (wanted: number): Link | undefined => {
    for (const [name, number] of numbers) if (number === wanted) return { name } as Link;
    return undefined;
  };
  fc.assert(
    fc.property(tables, (state) => {
      for (const object of new Layout(state, facts).objects.values()) {
        if (
          object.kind !== 'route' &&
          object.kind !== 'rule' &&
          object.kind !== 'tunnel-entry' &&
          object.kind !== 'neighbour'
        )
          continue;
        const [request] = writeRequests(object, ifindex);
        const writer = new MessageWriter(64);
        writer.begin(request!.type, 0, 1);
        request!.write(writer);
        writer.end();
        let read: LayoutObject | undefined;
        forEachMessage(Buffer.from(writer.bytes()), (message) => {
          if (object.kind === 'route') read = readRoute(decodeRoute(message) as never, linkOf);
          else if (object.kind === 'rule') read = readRule(decodeRule(message) as never);
          else read = readNeighbour(decodeNeighbour(message) as never, linkOf);
        });
        t.deepEqual(read, object);
      }
    }),
    { numRuns: 50 },
  );
});

test('nothing is written twice: what is equal makes no difference', (t) => {
  fc.assert(
    fc.property(tables, (state) => {
      const { objects } = new Layout(state, facts);
      t.deepEqual(difference(objects, new Layout(state, facts).objects), { write: [], remove: [] });
    }),
  );
});
