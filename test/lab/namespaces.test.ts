import { existsSync } from 'node:fs';
import test from 'ava';
import { AF, ETH_P, LinuxSocket, PACKET, SOCK, SOL } from 'linux-sockets';
import { Helper } from '../../lab/helper.ts';
import { labDown, labRun, labUp, malformedPackets, renderTable } from '../../lab/index.ts';
import { LinkSetter } from '../../lab/netlink.ts';
import { Observer } from '../../lab/observer/observer.ts';
import { arpSender } from '../../lab/observer/packets.ts';
import type { ProbeResult } from '../../lab/probe/prober.ts';
import { run, sleep, waitUntil } from '../../lab/processes.ts';
import { letServersSpeak } from '../../lab/servers.ts';
import { directoryOf } from '../../lab/state.ts';
import { arpRequest } from '../../lab/team/arp.ts';
import { Team, type TeamRecord } from '../../lab/team/driver.ts';
import { batch, buildTopology, removeTopology } from '../../lab/topology/build.ts';
import {
  cableAt,
  GATEWAY_ADDRESS,
  GATEWAY_MAC,
  homeOf,
  namespaceOf,
  SERVERS,
  TORS,
  type TorName,
} from '../../lab/topology/plan.ts';

const LAB = `labtest${process.pid}`;
const C4 = SERVERS.find(({ name }) => name === 'C4')!;

interface Tap {
  /** ARP senders seen at the port since the last call. */
  take(): string[];
  send(frame: Buffer): void;
  close(): void;
}

/** A packet socket at a ToR's port. */
function tapAt(port: string): Tap {
  const { near } = cableAt(port);
  const netns = namespaceOf(LAB, near.node);
  const socket = LinuxSocket.open({ family: AF.PACKET, type: SOCK.RAW, protocol: 0, netns });
  socket.setOption(SOL.PACKET, PACKET.IGNORE_OUTGOING, 1);
  socket.bind({ family: 'packet', ifindex: near.ifindex, protocol: ETH_P.ALL });
  return {
    take: () =>
      socket
        .receiveBatch()
        .flatMap(({ data }) => (data.readUInt16BE(12) === ETH_P.ARP ? (arpSender(data.subarray(14)) ?? []) : [])),
    send: (frame) => socket.send({ data: frame, to: { family: 'packet', ifindex: near.ifindex, protocol: ETH_P.ARP } }),
    close: () => socket.close(),
  };
}

function startTeams(updelay: number): { records: TeamRecord[]; ready: Promise<unknown>; close(): void } {
  const records: TeamRecord[] = [];
  const teams: Team[] = [];
  const ready = Promise.all(
    SERVERS.map(
      (server) =>
        new Promise<void>((resolve) => {
          teams.push(
            new Team(namespaceOf(LAB, server.name), server, updelay, (record) => records.push(record), resolve),
          );
        }),
    ),
  );
  return {
    records,
    ready,
    close: () => {
      for (const team of teams) team.close();
    },
  };
}

const cut = (setter: LinkSetter, port: string, up: boolean) =>
  setter.apply(cableAt(port).wires.map(({ ifindex }) => ({ ifindex, up })));

test.serial.beforeEach(async () => {
  await removeTopology(LAB);
  await buildTopology(LAB, 'routed');
});

test.serial.afterEach.always(() => removeTopology(LAB));

test.serial(
  'R4.5 a cut cable: both ends lose carrier, the team tells the other switch by gratuitous ARP',
  async (t) => {
    const teams = startTeams(0);
    const wires = new LinkSetter(namespaceOf(LAB, 'wires'), (errno) => t.fail(`link refused: ${errno}`));
    await teams.ready;
    const b2 = tapAt('B2');
    try {
      b2.take();
      cut(wires, 'A2', false);
      const heard: string[] = [];
      t.true(
        await waitUntil(() => {
          heard.push(...b2.take());
          return heard.includes(C4.address);
        }, 5000),
      );
      const port = () => run(['ip', '-n', namespaceOf(LAB, 'A'), '-o', 'link', 'show', 'A2']);
      t.true(await waitUntil(async () => /NO-CARRIER.*UP/.test(await port()), 5000));
      const lost = teams.records.find(({ event }) => event === 'link-lost')!;
      const told = teams.records.findLast(({ event }) => event === 'garp')!;
      t.like(lost, { server: 'C4', nic: 'eth-a' });
      t.like(told, { server: 'C4', nic: 'eth-b' });
      t.log(`link seen lost -> gratuitous ARP handed to the kernel: ${(told.at - lost.at).toFixed(3)} ms`);
    } finally {
      b2.close();
      teams.close();
      wires.close();
    }
  },
);

test.serial('frames on the standby link are dropped, also after its carrier came back', async (t) => {
  const teams = startTeams(0);
  const wires = new LinkSetter(namespaceOf(LAB, 'wires'), (errno) => t.fail(`link refused: ${errno}`));
  await teams.ready;
  const active = tapAt('A2');
  const standby = tapAt('B2');
  const ask = arpRequest(GATEWAY_MAC, GATEWAY_ADDRESS, C4.address);
  const answersAt = async (tap: Tap, patience = 5000): Promise<boolean> => {
    tap.take();
    let asked = 0;
    // Asked again now and then: whoever has just changed its link may not have heard the first.
    const answered = () => {
      if (asked++ % 10 === 0) tap.send(ask);
      return tap.take().includes(C4.address);
    };
    return waitUntil(answered, patience, 20);
  };
  try {
    t.true(await answersAt(active));
    t.false(await answersAt(standby, 1000));
    letServersSpeak(LAB);
    t.true(await waitUntil(() => active.take().includes(C4.address), 5000, 20));
    t.deepEqual(standby.take(), [], 'a broadcast of the server left by the standby link');
    const told = (what: string) => () =>
      teams.records.some(({ event, nic, server }) => event === what && nic === 'eth-b' && server === 'C4');
    cut(wires, 'B2', false);
    // Up again before the kernel has told of the loss, and nothing ever happened.
    t.true(await waitUntil(told('link-lost'), 5000));
    cut(wires, 'B2', true);
    t.true(await waitUntil(told('link-back'), 5000));
    t.false(await answersAt(standby, 1000));
    t.true(await answersAt(active));
    standby.take();
    // The moment between the carrier's return, when the kernel lets the port forward, and the team's hearing of it.
    for (const up of [false, true, false, true, false, true]) {
      cut(wires, 'B2', up);
      for (let time = 0; time < 10; time++) {
        letServersSpeak(LAB);
        await sleep(1);
      }
      await sleep(50);
    }
    t.deepEqual(standby.take(), [], 'a broadcast left by the standby link while its carrier came back');
    t.true(await answersAt(active));
    const last = () => teams.records.findLast(({ nic, server }) => nic === 'eth-b' && server === 'C4')?.event;
    t.true(await waitUntil(() => last() === 'link-back', 5000), 'the standby link is back after all');
    cut(wires, 'A2', false);
    const moved = ({ event, nic, server }: TeamRecord) => event === 'garp' && nic === 'eth-b' && server === 'C4';
    t.true(await waitUntil(() => teams.records.some(moved), 5000));
    t.true(await answersAt(standby));
  } finally {
    active.close();
    standby.close();
    teams.close();
    wires.close();
  }
});

test.serial('the probe loses nothing on an idle lab with fixed routes, and sees what is cut', async (t) => {
  const teams = startTeams(0);
  await teams.ready;
  const routes: Record<TorName | 'G', string[]> = { A: [], B: [], G: [] };
  for (const server of SERVERS) {
    const tor = homeOf(server);
    routes[tor].push(`route add ${server.address}/32 dev ${tor}${server.slot}`);
    routes.G.push(`route add ${server.address}/32 via ${TORS[tor].address}`);
  }
  for (const tor of ['A', 'B'] as const) routes[tor].push(`route add default via ${TORS[tor].peer}`);
  for (const node of ['A', 'B', 'G'] as const) await batch(namespaceOf(LAB, node), routes[node]);
  const probe = Helper.start('../../lab/probe/main', import.meta.url, [LAB]);
  const wires = new LinkSetter(namespaceOf(LAB, 'wires'), (errno) => t.fail(`link refused: ${errno}`));
  try {
    await probe.request('begin');
    await sleep(1000);
    await probe.request('end', 300);
    await probe.request('begin');
    await sleep(1500);
    const idle = await probe.request<ProbeResult[]>('end', 300);
    t.is(idle.length, 8);
    for (const stream of idle) {
      t.true(stream.sent > 100);
      t.like(stream, { lost: 0, duplicates: 0, refused: 0, outage: 0 });
    }
    await probe.request('begin');
    await sleep(200);
    cut(wires, 'A0', false);
    await sleep(200);
    const broken = await probe.request<ProbeResult[]>('end', 300);
    for (const { server, lost } of broken) t.is(lost > 0, server === 'C3' || server === 'C4', server);
  } finally {
    await probe.stop();
    wires.close();
    teams.close();
  }
});

test.serial('frames that come faster than the observer reads are told, once', async (t) => {
  const { near, far } = cableAt('A2');
  const tap = tapAt('A2');
  const socket = LinuxSocket.open({
    family: AF.PACKET,
    type: SOCK.RAW,
    protocol: 0,
    netns: namespaceOf(LAB, far.node),
  });
  socket.bind({ family: 'packet', ifindex: far.ifindex, protocol: 0 });
  // The kernel counts the memory of a frame, and an Ethernet frame may be longer than the ARP in it.
  const frame = Buffer.alloc(1500);
  arpRequest(GATEWAY_MAC, GATEWAY_ADDRESS, C4.address).copy(frame);
  const way = await waitUntil(
    () => {
      socket.send({ data: frame });
      return tap.take().includes(GATEWAY_ADDRESS);
    },
    5000,
    20,
  );
  t.true(way, `a frame from ${far.node} does not come to ${near.port}`);
  tap.close();
  const observer = new Observer(LAB, [4]);
  try {
    t.deepEqual(observer.missed(), []);
    // This very loop would read them: nothing is read until it ends.
    const burst = new Array<Buffer>(256).fill(frame);
    let missed: string[] = [];
    for (let round = 0; missed.length === 0 && round < 2000; round++) {
      socket.sendData(burst);
      missed = observer.missed();
    }
    t.regex(missed.join('\n'), /^the observer missed [0-9]+ frames at A's server ports: it reads too slowly$/);
    t.true(await waitUntil(() => observer.missed().length === 0, 5000));
  } finally {
    observer.close();
    socket.close();
  }
});

test.serial(
  "R4.5 R4.7 a whole lab with today's practice as ToR: figure 7 moves one /32, and down leaves nothing",
  async (t) => {
    const name = `labtoday${process.pid}`;
    try {
      const up = await labUp({ name, protocol: 'bgp', tor: 'frr' });
      t.deepEqual(up.fib, { '10.10.10.1': ['A'], '10.10.10.2': ['A'], '10.10.10.4': ['B'], '10.10.10.5': ['B'] });
      const capture = `${directoryOf(name)}/capture`;
      const result = await labRun({ name, tors: ['frr'], cases: ['server-link'], runs: 1, capture });
      t.deepEqual(result.problems, []);
      t.like(result.rows[0], { case: 'server-link', phase: 'fault', asExpected: true, lostElsewhere: 0 });
      t.deepEqual(result.rows[0]!.moved, ['10.10.10.2']);
      t.true(result.rows[0]!.outage.median > 0);
      t.true(result.floor !== undefined);
      for (const port of ['GA', 'GB']) t.deepEqual(await malformedPackets(`${capture}/${port}.pcap`), []);
      t.regex(renderTable(result), /server link down/);
    } finally {
      t.true(await labDown({ name }));
    }
    t.false(existsSync(directoryOf(name)));
    t.false((await run(['ip', 'netns', 'list'])).includes(name));
    const processes = await run(['ps', '-eo', 'args']);
    t.false(processes.includes(name), 'a process of the lab is left');
    t.false(await labDown({ name }));
  },
);
