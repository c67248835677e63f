/**
 * The worked example of document 004, figures 7 and 10, on real kernels and real gateways: who learns what, what G's
 * tables hold, what moves, and that nobody loses a packet who need not.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { startCapture } from '../../lab/capture.ts';
import {
  type CaseName,
  type GatewayKind,
  labRun,
  type PhaseName,
  type PhaseRun,
  type PortMode,
  type Protocol,
} from '../../lab/index.ts';
import { run, waitUntil } from '../../lab/processes.ts';
import { SERVERS, TORS } from '../../lab/topology/plan.ts';
import { Stand } from './stand.ts';

interface Example {
  readonly gateway: GatewayKind;
  readonly protocol: Protocol;
  readonly ports?: PortMode;
}

const EXAMPLES: readonly Example[] = [
  { gateway: 'frr', protocol: 'ospf' },
  { gateway: 'frr', protocol: 'bgp' },
  { gateway: 'bird', protocol: 'bgp' },
  { gateway: 'bird', protocol: 'ospf' },
  { gateway: 'frr', protocol: 'both' },
  { gateway: 'frr', protocol: 'both', ports: 'bridge' },
];

const BOTH_OF_A = ['10.10.10.1', '10.10.10.2'];

for (const example of EXAMPLES) {
  const title = `${example.gateway}, ${example.protocol}${example.ports ? `, ${example.ports} ports` : ''}`;

  test.serial(`R4.1 R4.2 R4.3 R4.5 R4.6 R4.7 the worked example: ${title}`, async (t) => {
    t.timeout(240_000);
    const stand = await Stand.up(example);
    const directory = mkdtempSync(join(tmpdir(), 'peerless-e2e-'));
    t.teardown(async () => {
      await stand.down();
      rmSync(directory, { recursive: true, force: true });
    });
    await hostsAreLearned(t, stand, example);
    await onlyHostRoutesAtG(t, stand, example);
    const capture = await startCapture(stand.name, directory);
    const { runs, problems } = await labRun({
      name: stand.name,
      runs: 1,
      cases: ['server-link', 'uplink', 'tor-death'],
    });
    await capture.stop();
    t.deepEqual(problems, []);
    serverLink(t, runs);
    uplink(t, runs, stand);
    torDeath(t, runs);
    for (const phase of runs) {
      const what = `${phase.case} ${phase.phase}`;
      t.deepEqual(phase.unexpected, [], `${what}: what moved wrongly`);
      t.deepEqual(phase.flickered, [], `${what}: what moved for a moment`);
      t.is(
        phase.lostElsewhere,
        0,
        `${what}: loss of servers that are not concerned: ${phase.lossesElsewhere.join('; ')}`,
      );
      // BIRD computes OSPF routes once a second, whatever it is told: it may follow later than a server waits.
      if (phase.phase === 'back' && !(example.gateway === 'bird' && example.protocol === 'ospf')) {
        t.is(phase.lost, 0, `${what}: a way back loses nothing`);
      }
    }
    for (const file of capture.files) await wellFormed(t, file, example);
  });
}

/** R4.1, and that the agent says by whom each host is announced. */
async function hostsAreLearned(t: ExecutionContext, stand: Stand, { protocol }: Example): Promise<void> {
  const speakers = protocol === 'both' ? ['ospf', 'bgp'] : [protocol];
  for (const [tor, expected] of [
    ['A', { '10.10.10.1': 'A1', '10.10.10.2': 'A2' }],
    ['B', { '10.10.10.4': 'B3', '10.10.10.5': 'B4' }],
  ] as const) {
    await stand.until(
      `${tor} is ready for its servers`,
      async () => (await stand.events(tor)).some(({ type, fields }) => type === 'upstream' && fields.ready === true),
      () => stand.events(tor),
    );
    const here = async () => (await stand.hosts(tor)).filter(({ state }) => state !== 'gone');
    const by = [...speakers, 'kernel'].toSorted().join();
    // With two protocols one of them may be ready first.
    await stand.until(
      `${tor} announces its servers by all that it speaks`,
      async () => (await here()).every(({ announcedBy }) => [...announcedBy].toSorted().join() === by),
      here,
    );
    const hosts = await here();
    t.deepEqual(Object.fromEntries(hosts.map(({ address, port }) => [address, port]).toSorted()), expected);
    for (const host of hosts) {
      t.is(host.state, 'reachable');
      t.is(host.mac as string, SERVERS.find(({ address }) => address === host.address)!.mac);
    }
  }
}

/** R4.2 and R4.3: in the tables of G's routing daemon and in its kernel. */
async function onlyHostRoutesAtG(t: ExecutionContext, stand: Stand, { gateway, protocol }: Example): Promise<void> {
  const inSubnet = (await stand.routes('G')).filter(({ dst }) => dst.startsWith('10.10.10.'));
  t.deepEqual(
    Object.fromEntries(inSubnet.map(({ dst, gateway: via }) => [dst, via] as [string, unknown]).toSorted()),
    Object.fromEntries(SERVERS.map(({ address, slot }) => [address, TORS[slot <= 2 ? 'A' : 'B'].address]).toSorted()),
    'each /32 with its ToR as the next hop, and nothing else of the subnet',
  );
  const shows: (() => Promise<string>)[] = [];
  if (gateway === 'bird') shows.push(() => stand.bird('show', 'route'));
  else {
    if (protocol !== 'bgp') shows.push(() => stand.frr('show ip ospf route'));
    if (protocol !== 'ospf') shows.push(() => stand.frr('show bgp ipv4 unicast'));
  }
  const expected = SERVERS.map(({ address }) => `${address}/32`).toSorted();
  for (const show of shows) {
    let table = '';
    let prefixes: string[] = [];
    // With two protocols the other one's routes may be later than the kernel's.
    await waitUntil(async () => {
      table = await show();
      prefixes = [...new Set(table.match(/10\.10\.10\.\d+\/\d+/g))].toSorted();
      return prefixes.length >= expected.length;
    }, 20_000);
    t.deepEqual(prefixes, expected, table);
  }
}

const phaseOf = (runs: readonly PhaseRun[], name: CaseName, phase: PhaseName): PhaseRun =>
  runs.find((each) => each.case === name && each.phase === phase)!;

/** Figure 7. */
function serverLink(t: ExecutionContext, runs: readonly PhaseRun[]): void {
  t.deepEqual(phaseOf(runs, 'server-link', 'fault').moved, ['10.10.10.2']);
  t.deepEqual(phaseOf(runs, 'server-link', 'back').moved, ['10.10.10.2']);
}

/** Figure 10: all four addresses lead to B, because those of A moved and no other did. */
function uplink(t: ExecutionContext, runs: readonly PhaseRun[], stand: Stand): void {
  const fault = phaseOf(runs, 'uplink', 'fault');
  t.deepEqual(fault.moved, BOTH_OF_A);
  t.deepEqual(phaseOf(runs, 'uplink', 'back').moved, BOTH_OF_A);
  const ofA = fault.failovers.filter(({ agent }) => agent === 'A');
  t.is(ofA.length, 1, 'one failover at A');
  t.is(ofA[0]!.cause, 'A0 lost carrier');
  const stepAt = (name: string) => ofA[0]!.steps.findIndex((step) => step.name === name);
  t.true(stepAt('host table') >= 0 && stepAt('ports shut') > stepAt('host table'), 'withdrawn, then shut');
  const shut = logged(stand).filter(({ event }) => event === 'portlink.shut');
  t.is(shut.length, 1, 'one batch');
  t.deepEqual(shut[0]!.ports, ['A1', 'A2', 'A3', 'A4']);
}

function torDeath(t: ExecutionContext, runs: readonly PhaseRun[]): void {
  t.deepEqual(phaseOf(runs, 'tor-death', 'fault').moved, BOTH_OF_A);
  t.deepEqual(phaseOf(runs, 'tor-death', 'back').moved, BOTH_OF_A);
}

function logged(stand: Stand): { event?: string; ports?: string[] }[] {
  return stand
    .log('A')
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as { event?: string; ports?: string[] });
}

/** R4.2 on the wire, and nothing that tshark calls malformed or an error. */
async function wellFormed(t: ExecutionContext, file: string, { protocol }: Example): Promise<void> {
  const show = async (...words: string[]) => (await run(['tshark', '-n', '-r', file, ...words])).trim();
  t.is(await show('-Y', '_ws.malformed || ((ospf || bgp) && _ws.expert.severity == error)'), '', file);
  const fields = ['-T', 'fields', '-E', 'separator=;', '-e', 'ip.src', '-e'];
  const sources = Object.values(TORS).map(({ address }) => `ip.src == ${address}`);
  const ours = `(${sources.join(' || ')})`;
  if (protocol !== 'bgp') {
    const masks = await show('-Y', `ospf.lsa.asext.netmask && ${ours}`, ...fields, 'ospf.lsa.asext.netmask');
    const seen = new Set(masks.split('\n').flatMap((line) => line.split(';')[1]!.split(',')));
    t.deepEqual(
      [...seen].filter((mask) => mask !== '0.0.0.0'),
      ['255.255.255.255'],
    );
  }
  if (protocol !== 'ospf') {
    const lengths = await show('-Y', `bgp.prefix_length && ${ours}`, ...fields, 'bgp.prefix_length');
    const seen = new Set(lengths.split('\n').flatMap((line) => line.split(';')[1]!.split(',')));
    t.deepEqual([...seen], ['32']);
  }
}
