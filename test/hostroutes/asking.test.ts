/** How questions leave: those of one port together. On a kernel of the test's own. */
import test from 'ava';
import { HostRoutes, type PortEar } from '../../src/hostroutes/index.ts';
import type { Address } from '../../src/model/address.ts';
import type { Port } from '../../src/model/ports.ts';
import { BROADCAST, decodeArp, ETHERTYPE, encodeArp, type Frame, makeFrame } from '../../src/netlink/frames/index.ts';
import { VirtualClock } from './clock.ts';
import { address, mac, policy } from './helpers.ts';

const SILENT = () => undefined;
const PORTS: readonly Port[] = ['A1', 'A2'].map((name, index) => ({
  ...{ name, ifindex: 101 + index, mac: mac(0xf0 + index), mtu: 1500, adminUp: true, carrier: true, master: 0 },
  ...{ kind: 'veth', addresses: [] },
}));

function gratuitous(text: string, from: number): Frame {
  const bytes = makeFrame(BROADCAST, mac(from), ETHERTYPE.arp, 28);
  const sender = { senderMac: mac(from), senderAddress: address(text) };
  encodeArp({ operation: 'request', ...sender, targetMac: BROADCAST, targetAddress: address(text) }, bytes, 14);
  return { bytes };
}

/** `refuse`: addresses to which nothing can be sent. */
function bench(refuse: readonly string[], many: boolean) {
  const clock = new VirtualClock();
  const sent: { readonly port: string; readonly to: Address[] }[] = [];
  const ears = new Map<string, { say(frames: Frame[]): void }>();
  const routes = new HostRoutes({
    policy: policy({ ports: ['A1', 'A2'] }),
    kernel: {
      port: (name) => PORTS.find((port) => port.name === name),
      portByIndex: (ifindex) => PORTS.find((port) => port.ifindex === ifindex),
      ports: () => PORTS,
      neighbours: { all: () => [], onNeighbour: () => SILENT },
      fdb: { portOf: SILENT },
    },
    clock,
    log: { debug: SILENT, info: SILENT, warn: SILENT, error: SILENT },
    random: () => 0,
    openPort: ({ name, ifindex }, onReadable) => {
      let waiting: Frame[] = [];
      const accept = (frames: readonly Uint8Array[]): boolean[] => {
        const to = frames.map((frame) => {
          const asked = decodeArp(frame.subarray(14));
          return typeof asked === 'string' ? address(asked) : asked.targetAddress;
        });
        const accepted = to.filter((each) => !refuse.includes(each));
        if (accepted.length > 0) sent.push({ port: name, to: accepted });
        return to.map((each) => accepted.includes(each));
      };
      const ear: PortEar = {
        ...{ ifindex, bridged: false, multicast: false, dropped: () => 0, close: SILENT },
        receive: () => waiting.splice(0),
        send: (frame) => (accept([frame])[0] ? undefined : 'ENOBUFS'),
        ...(many
          ? {
              sendAll: (frames, failed) => {
                for (const [index, well] of accept(frames).entries()) if (!well) failed(index, 'ENOBUFS');
              },
            }
          : {}),
      };
      ears.set(name, {
        say(frames) {
          waiting = frames;
          onReadable(ear);
        },
      });
      return ear;
    },
    onDelta: SILENT,
    onEvent: SILENT,
  });
  routes.start();
  return { clock, routes, sent, ears };
}

for (const many of [true, false]) {
  const how = many ? 'together' : 'one by one where the port knows no other way';
  test(`R4.5 questions of one port leave ${how}; one that could not be sent does not count`, async (t) => {
    const { clock, routes, sent, ears } = bench(['10.10.10.2'], many);
    ears.get('A1')!.say([gratuitous('10.10.10.1', 1), gratuitous('10.10.10.2', 2), gratuitous('10.10.10.3', 3)]);
    await new Promise((resolve) => setImmediate(resolve));
    ears.get('A2')!.say([gratuitous('10.10.10.4', 4)]);
    t.is(routes.hosts().length, 4);
    // Rounds are 300 ms apart, and none comes late.
    clock.advance(4_699);
    const expected = [{ port: 'A1', to: ['10.10.10.1', '10.10.10.3'] }];
    t.deepEqual(
      sent.filter(({ port }) => port === 'A1').flatMap(({ to }) => to),
      [],
    );
    clock.advance(101);
    const first = sent.filter(({ port }) => port === 'A1');
    if (many) t.deepEqual(first, expected as typeof first);
    else t.deepEqual(first.flatMap(({ to }) => to) as string[], expected[0]!.to);
    t.is(routes.counters()['probes.failed.ENOBUFS'], 1);
    t.is(routes.counters().probesUnsent, 1);
    // Who is asked in vain is given up; who never was stays.
    clock.advance(2_000);
    t.deepEqual(
      routes.hosts().map((host) => host.address as string),
      ['10.10.10.2'],
    );
  });
}
