/**
 * R4.1: a server that claims another's address, at a modest pace and each time from another MAC. The real agents in the
 * worked example, with the servers on routed ports and on a bridge, with and without bindings. The bridge is one
 * segment: the kernel's entry of C4 hears what is said behind C3's port.
 */
import test, { type ExecutionContext } from 'ava';
import { sleep } from '../../lab/processes.ts';
import { arpRequest, gratuitousArp } from '../../lab/team/arp.ts';
import { SERVERS } from '../../lab/topology/plan.ts';
import { Stand } from './stand.ts';

const C3 = '10.10.10.1';
const C4 = '10.10.10.2';
/** A VM that moves from C3 to C4. */
const VM = '10.10.10.77';
const CLAIMS = 60;

const macOf = (wanted: string) => SERVERS.find(({ name }) => name === wanted)!.mac;

/**
 * Packets (one a ms) that may be lost on the way to a server that is claimed: two for each time that the kernel or,
 * without a binding, the table believes the forger until it is told better, and what a loaded machine adds to it.
 */
const MOST_LOST = 60;

for (const ports of ['bridge', 'routed'] as const) {
  test.serial(`R4.1 forged ARP for another server's address takes nothing from it: ports ${ports}`, async (t) => {
    t.timeout(400_000);
    const stand = await Stand.up({ protocol: 'bgp', gateway: 'bird', ports });
    try {
      for (const bound of [false, true]) {
        if (bound) await bind(stand);
        await untilServed(stand, t);
        // Of the other port; on a routed port, of a server behind the same one.
        for (const address of ports === 'bridge' ? [C4] : [C4, C3]) await forgedInVain(stand, t, address, bound);
      }
      await movesAsEver(stand);
    } finally {
      await stand.down();
    }
  });
}

async function bind(stand: Stand): Promise<void> {
  stand.editConfig((config) => {
    config.hostRoutes.bindings = SERVERS.map(({ address, slot, mac }) => ({
      address,
      ports: [`A${slot}`],
      macs: [mac],
    }));
  });
  const changes = async () => (await stand.events()).filter(({ type }) => type === 'config.changed').length;
  const before = await changes();
  await stand.signal('SIGHUP');
  await stand.until('the bindings are in force', async () => (await changes()) > before);
}

const fib = async (stand: Stand, address: string) => String((await stand.fib())[address]);

async function untilServed(stand: Stand, t: ExecutionContext): Promise<void> {
  const at = async () => JSON.stringify([await fib(stand, C3), await fib(stand, C4)]);
  await stand.until('A serves C3 and C4', async () => (await at()) === '["A","A"]', at);
  for (const [name, address] of [
    ['C3', C3],
    ['C4', C4],
  ] as const) {
    const own = () => entry(stand, address);
    await stand.until(`the kernel has ${name}`, async () => (await own()).includes(macOf(name)), own);
  }
  t.pass();
}

const entry = (stand: Stand, address: string) => stand.ip('A', 'neigh', 'show', address);

async function forgedInVain(stand: Stand, t: ExecutionContext, address: string, bound: boolean): Promise<void> {
  const victim = address === C4 ? 'C4' : 'C3';
  const slot = SERVERS.find(({ name }) => name === victim)!.slot;
  const told = async () => (await stand.events()).filter(({ type }) => type === 'hosts.spoofed').length;
  const before = await told();
  const control = await stand.probing(() => sleep(3_000));
  const results = await stand.probing(async () => {
    for (let claim = 0; claim < CLAIMS; claim++) {
      const mac = `02:66:00:00:0${Number(bound)}:${(claim + 16).toString(16)}`;
      stand.sendFromServer('C3', [arpRequest(mac, address, address)]);
      await sleep(50);
    }
  });
  const { sent, lost } = results[victim];
  t.log(
    `${victim} ${bound ? 'bound' : 'not bound'}: lost ${lost} of ${sent}; unmolested ${control[victim].lost} of ${control[victim].sent}`,
  );
  t.true(lost <= MOST_LOST + control[victim].lost, `${victim} lost ${lost} of ${sent}`);
  const { warnings } = await stand.status();
  t.true(
    warnings.some((warning) => warning.includes('02:66:00') && warning.includes('A1') && warning.includes('claims')),
    warnings.join('; '),
  );
  // What is said of this port is one episode, in which the first is told.
  t.true((await told()) - before <= 1);
  t.true((await told()) >= 1);
  const host = (await stand.hosts()).find((each) => each.address === address);
  t.like(host, { port: `A${slot}`, mac: macOf(victim) });
  // What the last claim took from it is given back when the agent has heard of it.
  const own = () => entry(stand, address);
  await stand.until(`the kernel has ${victim} again`, async () => (await own()).includes(macOf(victim)), own);
}

/** Between two ports of A, right after what was forged: the old place is silent, so the move is believed. */
async function movesAsEver(stand: Stand): Promise<void> {
  const at = async () => (await stand.hosts()).find((each) => each.address === VM)?.port;
  await stand.addAddress('C3', VM);
  await stand.until(`${VM} is behind A1`, async () => (await at()) === 'A1', at);
  stand.sendFromServer('C4', [arpRequest('02:66:00:00:02:01', VM, VM)]);
  await stand.until('the claim was refuted', async () => (await at()) === 'A1', at);
  await stand.removeAddress('C3', VM);
  await stand.ip('C4', 'address', 'add', `${VM}/32`, 'dev', 'bond0');
  stand.sendFromServer('C4', [gratuitousArp(macOf('C4'), VM)]);
  await stand.until(
    `${VM} is behind A2, in the kernel too`,
    async () => (await at()) === 'A2' && (await entry(stand, VM)).includes(macOf('C4')),
    async () => [await at(), await entry(stand, VM)],
  );
}
