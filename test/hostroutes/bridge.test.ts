/** R4.5 against the kernel's bridge: who moves without saying its address is followed by its MAC. */
import test from 'ava';
import { BROADCAST, makeFrame } from '../../src/netlink/frames/index.ts';
import { address, mac } from './helpers.ts';
import { ip, Lab, send, until } from './lab.ts';

const ARP_ONLY = { arp: true, neighbours: false, bgp: false, kernel: false, static: [] };
const SLOW = { interval: 60_000, retries: 2, timeout: 100 };

/** Of an ethertype that nobody knows: it tells the bridge a MAC and us nothing. */
const anyFrame = (from = mac(1)) => makeFrame(BROADCAST, from, 0x88b5, 46);

function reverse(from = mac(1)): Uint8Array {
  const frame = makeFrame(BROADCAST, from, 0x8035, 28);
  frame.set([0, 1, 8, 0, 6, 4, 0, 3], 14);
  for (const at of [22, 32])
    frame.set(
      from.split(':').map((octet) => Number.parseInt(octet, 16)),
      at,
    );
  return frame;
}

/** The VM with 10.10.10.1 and 02:..:01 leaves the host behind A1 for the one behind A2, in silence. */
function migrate(lab: Lab): void {
  lab.removeHost('A1', '10.10.10.1/24');
  ip('-n', lab.hosts.A1, 'link', 'set', 'eth0', 'address', '02:00:00:00:00:33');
  ip('-n', lab.hosts.A2, 'link', 'set', 'eth0', 'address', mac(1));
  lab.addHost('A2', '10.10.10.1/24');
}

async function withHostAtA1(bridged: boolean): Promise<Lab> {
  const lab = new Lab(bridged);
  await lab.start({ probe: SLOW, sources: ARP_ONLY });
  lab.addHost('A1', '10.10.10.1/24');
  send(lab.hosts.A1, 'ping', '-c', '1', '-W', '1', '10.10.10.254');
  if (!(await until(() => lab.at('10.10.10.1').port === 'A1'))) throw new Error('it was not learned');
  return lab;
}

test.serial(
  'R4.5 a VM that moves to another port of the bridge is followed at its first frame, whatever that is',
  async (t) => {
    const lab = await withHostAtA1(true);
    try {
      migrate(lab);
      const wire = lab.wire('A2');
      const since = performance.now();
      wire.send({ data: anyFrame() });
      t.true(await until(() => lab.at('10.10.10.1').port === 'A2'));
      t.log(`from the frame to the move ${(performance.now() - since).toFixed(1)} ms (looked at every 5 ms)`);
      const view = lab.routes.find(address('10.10.10.1'));
      t.is(lab.deltas.at(-1)?.cause.reason, 'moved from A1: the bridge has heard its MAC here');
      t.is(lab.at('10.10.10.1').interface, 'br0');
      t.is(view?.mac, mac(1));
      t.true(
        await until(() => lab.routes.find(address('10.10.10.1'))?.sources[0]?.how === 'arp-reply'),
        'it was asked there',
      );
      t.true(lab.routes.counters()['fdb.moved']! >= 1);
    } finally {
      lab.close();
    }
  },
);

for (const bridged of [false, true]) {
  test.serial(`R4.5 RARP of a hypervisor on ${bridged ? 'a bridge' : 'routed ports'} moves its VM`, async (t) => {
    const lab = await withHostAtA1(bridged);
    try {
      migrate(lab);
      lab.wire('A2').send({ data: reverse() });
      t.true(await until(() => lab.at('10.10.10.1').port === 'A2'));
      t.is(lab.at('10.10.10.1').interface, bridged ? 'br0' : 'A2');
      t.true(await until(() => lab.routes.find(address('10.10.10.1'))?.sources[0]?.how === 'arp-reply'));
      t.true(await until(() => lab.routes.counters()['frames.rarp'] === 1));
    } finally {
      lab.close();
    }
  });
}

test.serial(
  'R4.5 a forged MAC does not keep a host: it is asked where the MAC was seen, then where it was',
  async (t) => {
    const lab = await withHostAtA1(true);
    try {
      lab.wire('A2').send({ data: anyFrame() });
      t.true(await until(() => lab.deltas.some(({ cause }) => cause.kind === 'moved' && cause.port === 'A2')));
      t.true(await until(() => lab.at('10.10.10.1').port === 'A1'), 'back');
      t.true(await until(() => lab.routes.find(address('10.10.10.1'))?.sources[0]?.how === 'arp-reply'));
      t.is(lab.deltas.filter(({ delta }) => delta.withdrawn.length > 0).length, 0, 'it was announced all the time');
    } finally {
      lab.close();
    }
  },
);

test.serial(
  'R4.5 a MAC that the bridge hears behind a port which is none of ours: the host is asked, and goes',
  async (t) => {
    const lab = await withHostAtA1(true);
    try {
      ip('-n', lab.tor, 'link', 'add', 'fab0', 'type', 'veth', 'peer', 'name', 'beyond');
      for (const name of ['fab0', 'beyond']) ip('-n', lab.tor, 'link', 'set', name, 'up');
      ip('-n', lab.tor, 'link', 'set', 'fab0', 'master', 'br0');
      lab.removeHost('A1', '10.10.10.1/24');
      // A member that has just come may not forward yet.
      const gone = (): boolean => {
        lab.sendFrom('beyond', anyFrame());
        return !lab.model.has(address('10.10.10.1'));
      };
      t.true(await until(gone));
      t.is(lab.deltas.at(-1)?.cause.kind, 'silent');
      t.true(lab.routes.counters()['fdb.elsewhere']! >= 1);
    } finally {
      lab.close();
    }
  },
);

test.serial('R4.5 a MAC that vanishes from the bridge: a host that is there stays, one that is not goes', async (t) => {
  const lab = await withHostAtA1(true);
  try {
    // Whatever the host sends by itself puts the entry back.
    for (let round = 0; round < 20 && lab.routes.counters()['fdb.vanished'] === 0; round++) {
      send(lab.tor, 'bridge', 'fdb', 'del', mac(1), 'dev', 'A1', 'master');
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
    t.true(lab.routes.counters()['fdb.vanished']! >= 1);
    t.true(await until(() => lab.routes.find(address('10.10.10.1'))?.sources[0]?.how === 'arp-reply'));
    t.is(lab.at('10.10.10.1').port, 'A1');
    // The answer has put the entry back.
    lab.removeHost('A1', '10.10.10.1/24');
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    send(lab.tor, 'bridge', 'fdb', 'del', mac(1), 'dev', 'A1', 'master');
    t.true(await until(() => !lab.model.has(address('10.10.10.1'))));
  } finally {
    lab.close();
  }
});

test.serial(
  'R4.5 carrier loss on a bridge port takes its hosts at once; its vanished entries ask nobody',
  async (t) => {
    const lab = await withHostAtA1(true);
    try {
      const { probes } = lab.routes.counters();
      ip('-n', lab.hosts.A1, 'link', 'set', 'eth0', 'down');
      t.true(await until(() => lab.model.size === 0));
      t.is(lab.deltas.at(-1)?.cause.kind, 'portDown');
      await new Promise((resolve) => setTimeout(resolve, 200));
      t.is(lab.routes.counters()['fdb.vanished'], 0);
      t.is(lab.routes.counters().probes, probes);
    } finally {
      lab.close();
    }
  },
);
