/** R4.4: a LAG is one port. On a kernel of the test's own: the one at hand has no bonding. */
import test from 'ava';
import { HostRoutes, type PortEar } from '../../src/hostroutes/index.ts';
import type { Address } from '../../src/model/address.ts';
import type { HostRoute } from '../../src/model/hosts.ts';
import type { Port } from '../../src/model/ports.ts';
import type { NeighbourEvent } from '../../src/netlink/index.ts';
import { VirtualClock } from './clock.ts';
import { address, heard, mac, policy } from './helpers.ts';

const SILENT = () => undefined;
const EAR: Omit<PortEar, 'ifindex'> = {
  ...{ bridged: false, multicast: false, receive: () => [], send: SILENT, dropped: () => 0, close: SILENT },
};

class Bench {
  readonly model = new Map<Address, HostRoute>();
  readonly ears = new Set<string>();
  readonly ports = new Map<string, Port>();
  readonly routes: HostRoutes;
  tellNeighbour: (event: NeighbourEvent) => void = SILENT;

  constructor(names: readonly string[], overrides: Parameters<typeof policy>[0] = {}) {
    this.#add('bond0', 60, { kind: 'bond' });
    this.#add('A1', 101, { master: 60 });
    this.#add('A2', 102, { master: 60 });
    this.#add('A3', 103);
    const all = () => [...this.ports.values()];
    this.routes = new HostRoutes({
      policy: policy({ ports: names, ...overrides }),
      kernel: {
        port: (name) => this.ports.get(name),
        portByIndex: (ifindex) => all().find((port) => port.ifindex === ifindex),
        ports: all,
        neighbours: {
          all: () => [],
          onNeighbour: (listener) => {
            this.tellNeighbour = listener;
            return SILENT;
          },
        },
        fdb: { portOf: SILENT },
      },
      clock: new VirtualClock(),
      log: { debug: SILENT, info: SILENT, warn: SILENT, error: SILENT },
      openPort: ({ name, ifindex }) => {
        this.ears.add(name);
        return { ...EAR, ifindex, close: () => this.ears.delete(name) };
      },
      onDelta: ({ withdrawn, announced }) => {
        for (const gone of withdrawn) this.model.delete(gone);
        for (const route of announced) this.model.set(route.address, route);
      },
      onEvent: SILENT,
    });
    this.routes.start();
  }

  set(name: string, change: Partial<Port>): void {
    const before = this.ports.get(name)!;
    const after = { ...before, ...change };
    this.ports.set(name, after);
    this.routes.portChange({ name, before, after, at: 0 });
  }

  hear(text: string, port: string, ifindex: number): void {
    const { type: _, ...report } = heard(text, port, { source: 'kernel', interface: port, ifindex });
    this.routes.report({ ...report, source: 'kernel' });
  }

  #add(name: string, ifindex: number, rest: Partial<Port> = {}): void {
    const common = { mac: mac(0xfe), mtu: 1500, adminUp: true, carrier: true, master: 0, kind: 'veth', addresses: [] };
    this.ports.set(name, { name, ifindex, ...common, ...rest });
  }
}

test('R4.4 a policy that names the members of a LAG means the LAG: heard there, routed there, one port', (t) => {
  const statics = [{ address: address('10.10.10.9'), port: 'A2' }];
  const bench = new Bench(['A1', 'A2', 'A3'], {
    sources: { arp: true, neighbours: true, bgp: true, kernel: true, static: statics },
    activeActive: { ports: ['A1'], prefixes: [] },
    bindings: [{ address: address('10.10.10.1'), ports: ['A1'] }],
  });
  t.deepEqual([...bench.ears].toSorted(), ['A3', 'bond0']);
  bench.hear('10.10.10.1', 'bond0', 60);
  bench.hear('10.10.10.9', 'bond0', 60);
  t.is(bench.model.get(address('10.10.10.1'))?.interface, 'bond0');
  t.true(bench.model.has(address('10.10.10.9')), 'the static entry of a member is one of the LAG');
  bench.routes.foreignClaim({ address: address('10.10.10.1'), level: 2, from: 'B' });
  t.is(bench.routes.find(address('10.10.10.1'))?.port, 'bond0');

  t.log("one member's loss is nothing, the LAG's loss is");
  bench.set('A1', { carrier: false });
  t.is(bench.model.size, 2);
  bench.set('A2', { carrier: false });
  bench.set('bond0', { carrier: false });
  t.is(bench.model.size, 0);
});

test('R4.6 a LAG is blocked while all its members in the policy are', (t) => {
  const bench = new Bench(['A1', 'A2', 'A3']);
  bench.hear('10.10.10.1', 'bond0', 60);
  bench.hear('10.10.10.3', 'A3', 103);
  bench.routes.blockPorts(['A1'], true, 'partial');
  t.is(bench.model.size, 2);
  bench.routes.blockPorts(['A2', 'A3'], true, 'fabric');
  t.is(bench.model.size, 0);
  bench.hear('10.10.10.1', 'bond0', 60);
  t.is(bench.model.size, 0, 'nothing is learned meanwhile');
  bench.routes.blockPorts(['A2'], false, 'back');
  bench.hear('10.10.10.1', 'bond0', 60);
  t.deepEqual([...bench.model.keys()], ['10.10.10.1']);
});

test('R4.4 a port that joins or leaves a LAG while the agent runs', (t) => {
  const bench = new Bench(['A3']);
  bench.hear('10.10.10.3', 'A3', 103);
  bench.set('A3', { master: 60 });
  t.deepEqual([...bench.ears], ['bond0']);
  t.is(bench.model.size, 0, 'who was there by itself is looked for anew');
  bench.hear('10.10.10.3', 'bond0', 60);
  t.is(bench.model.get(address('10.10.10.3'))?.interface, 'bond0');
  bench.set('A3', { master: 0 });
  t.deepEqual([...bench.ears], ['A3']);
  t.is(bench.model.size, 0);
});

test("R4.1 a neighbour of the kernel on a LAG whose members are named is the LAG's", (t) => {
  const bench = new Bench(['A1', 'A2']);
  const entry = { mac: mac(1), state: 2, usable: true, own: false, deleted: false, at: 0 };
  bench.tellNeighbour({ ifindex: 60, address: address('10.10.10.1'), ...entry });
  t.is(bench.routes.find(address('10.10.10.1'))?.port, 'bond0');
});
