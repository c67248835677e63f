/**
 * A server's port that is back is shut again until the fabric has been told of those behind it: here of a server and two
 * VMs of it, for a switch that does so from two hosts on.
 */
import test from 'ava';
import { decodeRoute, Malformed, RTM } from 'rtnetlink-ts';
import { listenLinks, listenRoutes } from '../../lab/netlink.ts';
import { sleep } from '../../lab/processes.ts';
import { gratuitousArp } from '../../lab/team/arp.ts';
import { CABLES, cableAt, namespaceOf, SERVERS, type TorName } from '../../lab/topology/plan.ts';
import { Stand } from './stand.ts';

const C4 = '10.10.10.2';
const VMS = ['10.10.10.42', '10.10.10.43'];
const ALL = [C4, ...VMS];
const { mac } = SERVERS.find(({ name }) => name === 'C4')!;
/** G's port to A, by its index. */
const TO_A = CABLES.find(({ kind, near }) => kind === 'uplink' && near.node === 'A')!.far.ifindex;
const A2 = cableAt('A2').near.ifindex;
/** What two sockets tell of may be read in the wrong order (ms). */
const READ = 2;

let stand: Stand;

test.before(async (t) => {
  t.timeout(180_000);
  stand = await Stand.up({
    protocol: 'bgp',
    gateway: 'frr',
    settings: ({ hostRoutes, ...rest }) => ({
      ...rest,
      hostRoutes: { ...hostRoutes, returning: { mode: 'always', bounceFrom: 2 } },
    }),
  });
  for (const address of VMS) await stand.addAddress('C4', address);
});

test.afterEach.always((t) => stand.mend(t));

test.after.always(() => stand?.down());

const speak = (): void =>
  stand.sendFromServer(
    'C4',
    ALL.map((address) => gratuitousArp(mac, address)),
  );

/** They are behind this switch. A server speaks for its VMs when it has moved. */
async function untilAllAt(tor: TorName): Promise<void> {
  await stand.until(
    `${ALL.join(' ')} are behind ${tor}`,
    async () => {
      speak();
      const [fib, hosts] = [await stand.fib(), await stand.hosts(tor)];
      const heard = hosts.filter(({ state, address }) => state === 'reachable' && ALL.includes(address));
      return heard.length === ALL.length && ALL.every((address) => fib[address]?.join() === tor);
    },
    async () => ({ fib: await stand.fib(), hosts: await stand.hosts(tor) }),
  );
}

async function failed(): Promise<void> {
  await untilAllAt('A');
  stand.cables(['A2'], false);
  await untilAllAt('B');
}

async function stopGateway(stop: boolean): Promise<void> {
  const { stdout } = await stand.exec('G', 'cat', `${stand.directory('G')}/bgpd.pid`);
  process.kill(Number(stdout.trim()), stop ? 'SIGSTOP' : 'SIGCONT');
}

const isShut = async (): Promise<boolean> => (await stand.shutPorts()).includes('A2');

test.serial(
  'R4.7 a port with a crowd behind it is shut until the gateway leads to us, and nothing is lost',
  async (t) => {
    t.timeout(90_000);
    await failed();
    /** When A2 was shut, and opened, by its admin state; and when G led to A. */
    const changes: { readonly open: boolean; readonly at: number }[] = [];
    const turned = new Map<string, number>();
    const links = listenLinks(namespaceOf(stand.name, 'A'), ({ ifindex, up }) => {
      if (ifindex === A2 && up !== (changes.at(-1)?.open ?? true)) changes.push({ open: up, at: performance.now() });
    });
    const routes = listenRoutes(namespaceOf(stand.name, 'G'), (message) => {
      if (message.type !== RTM.NEWROUTE) return;
      const route = decodeRoute(message);
      if (route instanceof Malformed || !route.nextHops.some(({ ifindex }) => ifindex === TO_A)) return;
      const [address] = route.destination.split('/');
      if (ALL.includes(address!) && !turned.has(address!)) turned.set(address!, performance.now());
    });
    t.teardown(() => {
      links.close();
      routes.close();
    });
    await sleep(200);
    turned.clear();
    const since = (await stand.events()).at(-1)!.seq;
    const lost = await stand.probing(async () => {
      stand.cables(['A2'], true);
      await untilAllAt('A');
      await sleep(1_500);
    });
    t.deepEqual(
      changes.map(({ open }) => open),
      [false, true],
      'shut once, opened once',
    );
    t.deepEqual([...turned.keys()].toSorted(), ALL.toSorted());
    const opened = changes[1]!.at;
    for (const [address, at] of turned) t.true(at < opened + READ, `${address}: ${at - opened} ms after the opening`);
    const ours = (await stand.events()).filter(({ seq, message }) => seq > since && message.startsWith('(bounce)'));
    t.deepEqual(
      ours.map(({ type }) => type),
      ['portlink.shut', 'portlink.open'],
    );
    t.deepEqual(
      Object.values(lost).map((each) => each.lost),
      [0, 0, 0, 0],
    );
    t.deepEqual(await stand.shutPorts(), []);
    t.is((await stand.group()).state, 'up');
  },
);

/** A gateway that does not turn: the port is held for as long as that may last, and then `end` has come. */
async function endedWhileHeld(end: () => Promise<void>): Promise<void> {
  await failed();
  await stopGateway(true);
  stand.cables(['A2'], true);
  await stand.until('A2 is shut', isShut);
  const ending = end();
  await stopGateway(false);
  await ending;
}

test.serial('R4.5 R4.7 killed while it is held: the next life opens it', async (t) => {
  t.timeout(120_000);
  await endedWhileHeld(() => stand.signal('SIGKILL'));
  t.true(await isShut());
  await stand.start();
  await stand.until('A2 is open', async () => !(await isShut()));
  await untilAllAt('A');
  t.deepEqual(await stand.shutPorts(), []);
  t.deepEqual(stand.defects(), []);
});

for (const [how, end] of [
  ['ended for good', () => stand.signal('SIGTERM')],
  ['ended for a restart', () => stand.signal('SIGUSR2')],
] as const) {
  test.serial(`R4.7 ${how} while it is held: the port is open when the agent is gone`, async (t) => {
    t.timeout(120_000);
    await endedWhileHeld(end);
    t.false(await isShut());
    await stand.start();
    await untilAllAt('A');
    t.deepEqual(stand.defects(), []);
  });
}
