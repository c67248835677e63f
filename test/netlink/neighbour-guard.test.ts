/** R4.1: the kernel's entry of a host is the host table's, whoever claims the host: on a simulated clock and kernel, and on the real one. */
import test, { type ExecutionContext } from 'ava';
import { NUD } from 'rtnetlink-ts';
import type { Address, Mac } from '../../src/model/address.ts';
import type { HostRoute } from '../../src/model/hosts.ts';
import { ETHERNET_HEADER, encodeNd, makeFrame, type NdPacket, ndLength } from '../../src/netlink/frames/index.ts';
import { HostRouteInstaller, type NeighbourEvent } from '../../src/netlink/index.ts';
import { Box } from '../simulation/box.ts';
import { VirtualClock } from '../simulation/clock.ts';
import {
  announce,
  cable,
  eventually,
  host,
  inBoxes,
  packetSocket,
  upAndThere,
  withdraw,
  withKernel,
} from './helpers.ts';

const HOST = '10.10.10.1' as Address;
const OURS = '02:00:00:00:00:01' as Mac;
const FORGED = '02:66:00:00:00:01' as Mac;
const MINUTE = 60_000;

/** An installer and a kernel that believes everybody, as Linux does. */
class Bench {
  readonly clock = new VirtualClock();
  readonly box = new Box('A', 10, () => {});
  readonly installer: HostRouteInstaller;
  written = 0;

  constructor() {
    for (const name of ['A1', 'A2']) this.box.addPort(name, '02:aa:00:00:00:01' as Mac, []);
    const shown = (find: (port: { name: string; ifindex: number }) => boolean) => {
      const port = [...this.box.ports.values()].find(find);
      return port && this.box.shown(port);
    };
    this.installer = new HostRouteInstaller(
      {
        sendNow: async (batch) => {
          this.written += batch.length;
          for (const request of batch) this.box.request(request);
          return { sent: batch.length, refused: [] };
        },
        setRoute: async () => {},
        dumpRoutes: async ({ family }) => [...this.box.routes.values()].filter((route) => route.family === family),
        dumpNeighbours: async () => [...this.box.neighbours.values()],
      },
      {
        port: (name) => shown((port) => port.name === name),
        portByIndex: (ifindex) => shown((port) => port.ifindex === ifindex),
        portTowards: () => undefined,
        afterChange: () => () => {},
        afterResync: () => () => {},
      },
      this.clock,
    );
    this.apply();
    this.written = 0;
  }

  host(overrides: Partial<HostRoute> = {}): HostRoute {
    const { ifindex } = this.box.ports.get('A1')!;
    return { address: HOST, interface: 'A1', ifindex, mac: OURS, level: 0, ...overrides };
  }

  apply(overrides: Partial<HostRoute> = {}): void {
    this.installer.apply(announce(this.host(overrides)));
  }

  /** true: it was taken for a claim. */
  says(mac: Mac, overrides: Partial<NeighbourEvent> = {}): boolean {
    const { ifindex } = this.host();
    const event = { ifindex, address: HOST, mac, state: NUD.STALE, usable: true, own: true, deleted: false };
    return this.installer.neighbourChanged({ ...event, at: this.clock.now(), ...overrides }) !== undefined;
  }

  get entry() {
    const [entry, ...others] = [...this.box.neighbours.values()];
    if (others.length > 0) throw new Error('one entry is expected');
    return entry && { mac: entry.linkAddress, state: entry.state };
  }

  pass(ms: number): void {
    const end = this.clock.now() + ms;
    while (this.clock.step(end));
  }
}

const REACHABLE = { mac: OURS as string, state: NUD.REACHABLE };
const PINNED = { mac: OURS as string, state: NUD.PERMANENT };

test('R4.1 an entry that somebody has taken is written again at once, and pinned when it is taken again', (t) => {
  const bench = new Bench();
  t.deepEqual(bench.entry, REACHABLE);
  t.true(bench.says(FORGED));
  t.is(bench.written, 1);
  t.deepEqual(bench.entry, REACHABLE);
  bench.pass(1_000);
  t.true(bench.says(FORGED));
  t.deepEqual(bench.entry, PINNED);
  bench.pass(29_000);
  t.deepEqual(bench.entry, PINNED);
  bench.pass(1_000);
  t.deepEqual(bench.entry, REACHABLE, 'the kernel checks it again');
});

test('R4.1 claims by the thousand cost two messages in a pin, and pins grow longer, five minutes at most', (t) => {
  const bench = new Bench();
  let pins = 0;
  for (let second = 0; second < 3_600; second++) {
    for (let claim = 0; claim < 100; claim++) bench.says(`02:66:00:00:00:${10 + (claim % 80)}` as Mac);
    t.is(bench.entry?.mac, OURS);
    bench.pass(1_000);
  }
  pins = bench.installer.counters()['neighbours.pins']!;
  // 30 + 60 + 120 + 240 s, then 300 each.
  t.true(pins >= 13 && pins <= 16, `${pins} pins in an hour`);
  t.true(bench.written <= 2 * pins + 2, `${bench.written} messages`);
  bench.pass(10 * MINUTE);
  t.deepEqual(bench.entry, REACHABLE);
  t.is(bench.clock.pending, 0, 'nothing is left of it');
});

test('R4.1 one claim in a while is no storm: after a calm minute it counts as the first', (t) => {
  const bench = new Bench();
  for (let round = 0; round < 5; round++) {
    t.true(bench.says(FORGED));
    t.deepEqual(bench.entry, REACHABLE);
    bench.pass(MINUTE + 1_000);
  }
  t.like(bench.installer.counters(), { 'neighbours.taken': 5, 'neighbours.pins': 0, 'neighbours.pinned': 0 });
});

test('R4.1 the table takes the new MAC over: it is written, and what came before counts for nothing', (t) => {
  const bench = new Bench();
  bench.says(FORGED);
  bench.says(FORGED);
  t.deepEqual(bench.entry, PINNED);
  bench.apply({ mac: FORGED });
  t.deepEqual(bench.entry, { mac: FORGED as string, state: NUD.REACHABLE });
  t.false(bench.says(FORGED));
  // A notification that was under way: written again, but nobody claims anything.
  t.false(bench.says(OURS));
  t.is(bench.installer.counters()['neighbours.pinned'], 0);
  bench.pass(2_000);
  t.true(bench.says(OURS), 'the old machine is back, and the table does not believe it');
  t.deepEqual(bench.entry, { mac: FORGED as string, state: NUD.REACHABLE });
});

test('what is no claim: other hosts, other interfaces, an operator, entries without a MAC or gone', (t) => {
  const bench = new Bench();
  t.false(bench.says(FORGED, { address: '10.10.10.9' as Address }));
  t.false(bench.says(FORGED, { ifindex: bench.box.ports.get('A2')!.ifindex }));
  t.false(bench.says(FORGED, { state: NUD.PERMANENT }));
  t.false(bench.says(FORGED, { state: NUD.NOARP }));
  t.false(bench.says(FORGED, { state: NUD.FAILED }));
  t.false(bench.says(FORGED, { deleted: true }));
  t.false(bench.says(OURS));
  bench.installer.apply(withdraw(HOST));
  t.false(bench.says(FORGED));
  bench.apply();
  bench.installer.close();
  t.false(bench.says(FORGED));
});

test('an entry that an earlier life had pinned is not left so', async (t) => {
  const bench = new Bench();
  bench.says(FORGED);
  bench.says(FORGED);
  const next = new Bench();
  for (const [key, entry] of bench.box.neighbours) next.box.neighbours.set(key, entry);
  t.deepEqual(next.entry, PINNED);
  await next.installer.reconcile([next.host()]);
  t.deepEqual(next.entry, REACHABLE);
});

const SENDERS: readonly { family: string; address: string; forge(mac: Mac): Uint8Array }[] = [
  { family: 'ARP', address: '10.10.10.2', forge: gratuitous },
  { family: 'ND', address: '2001:db8::2', forge: advertisement },
];

function gratuitous(from: Mac): Uint8Array {
  const frame = makeFrame('ff:ff:ff:ff:ff:ff' as Mac, from, 0x0806, 28);
  const hardware = from.split(':').map((octet) => Number.parseInt(octet, 16));
  frame.set([0, 1, 8, 0, 6, 4, 0, 1, ...hardware, 10, 10, 10, 2, 0, 0, 0, 0, 0, 0, 10, 10, 10, 2], ETHERNET_HEADER);
  return frame;
}

function advertisement(from: Mac): Uint8Array {
  const packet: NdPacket = {
    type: 'advertisement',
    source: 'fe80::66' as Address,
    destination: 'ff02::1' as Address,
    target: '2001:db8::2' as Address,
    linkLayer: from,
    router: false,
    solicited: false,
    override: true,
  };
  const frame = makeFrame('33:33:00:00:00:01' as Mac, from, 0x86dd, ndLength(packet));
  encodeNd(packet, frame, ETHERNET_HEADER);
  return frame;
}

for (const bridged of [false, true]) {
  for (const { family, address, forge } of SENDERS) {
    const where = bridged ? 'from another port of the bridge' : 'from behind the same routed port';
    test.serial(`R4.1 forged ${family} ${where} does not take a host's entry from it`, async (t) => {
      await inBoxes(2, async (tor, servers) => {
        cable(tor, 'A1', servers, 'C1');
        cable(tor, 'A2', servers, 'C2');
        tor.ip('link add br0 type bridge');
        if (bridged) for (const port of ['A1', 'A2']) tor.ip(`link set ${port} master br0`);
        tor.ip('link set br0 up');
        const device = bridged ? 'br0' : 'A2';
        tor.ip(`addr add 10.10.10.254/24 dev ${device}`);
        tor.ip(`addr add 2001:db8::fe/64 dev ${device} nodad`);
        const forger = packetSocket(servers, bridged ? 'C1' : 'C2');
        t.teardown(() => forger.close());
        await withKernel(tor, async (kernel) => {
          await upAndThere(kernel, 'A1', 'A2', device);
          await forgedInVain(t, {
            kernel,
            routed: kernel.port(device)!,
            address,
            shown: () => tor.ip(`neigh show ${address} dev ${device}`),
            forge: (mac) => forger.send({ data: forge(mac) }),
          });
        });
      });
    });
  }
}

interface Forgery {
  readonly kernel: Parameters<Parameters<typeof withKernel>[1]>[0];
  readonly routed: Parameters<typeof host>[1];
  readonly address: string;
  shown(): string;
  forge(mac: Mac): void;
}

async function forgedInVain(t: ExecutionContext, { kernel, routed, address, shown, forge }: Forgery): Promise<void> {
  const installer = kernel.hostRoutes();
  let taken = 0;
  let guarded = false;
  kernel.neighbours.onNeighbour((event) => {
    if (guarded && installer.neighbourChanged(event)) taken++;
  });
  installer.apply(announce(host(address, routed)));
  // The ports of the bridge forward when it has let them; and without a guard the entry is the forger's.
  await eventually(() => {
    forge(FORGED);
    return shown().includes(FORGED);
  });
  guarded = true;
  installer.apply(withdraw(address));
  installer.apply(announce(host(address, routed)));
  const forged = async (count: number) => {
    for (let claim = 0; claim < count; claim++) {
      forge(`02:66:00:00:01:${10 + (claim % 80)}` as Mac);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  };
  await forged(1);
  await eventually(() => taken > 0 || shown().includes('02:00:00:00:00:02'));
  await forged(100);
  await eventually(() => /lladdr 02:00:00:00:00:02 extern_learn PERMANENT proto 201/.test(shown()));
  t.is(installer.counters()['neighbours.pinned'], 1);
  const before = installer.counters()['neighbours.taken'];
  await forged(50);
  t.is(installer.counters()['neighbours.taken'], before, 'the kernel believes nobody any more, and says nothing');
  // The table believes it now (a NIC was replaced): so does the kernel.
  installer.apply(announce(host(address, routed, '02:00:00:00:00:99')));
  t.regex(shown(), /lladdr 02:00:00:00:00:99 extern_learn REACHABLE proto 201/);
  await installer.settled();
}
