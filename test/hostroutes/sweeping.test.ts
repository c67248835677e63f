/** R4.1 against the kernel: hosts in namespaces that have never sent a frame. */
import { readdirSync, readlinkSync } from 'node:fs';
import test from 'ava';
import { ETH_P } from 'linux-sockets';
import type { Prefix } from '../../src/model/address.ts';
import { decodeArp } from '../../src/netlink/frames/index.ts';
import { address, policy } from './helpers.ts';
import { ip, Lab, until } from './lab.ts';

const ARP_ONLY = { arp: true, neighbours: false, bgp: false, kernel: false, static: [] };
const PREFIXES = ['10.10.10.0/26', '2001:db8::/64'] as Prefix[];

/** Descriptors of this process; the tests of a file run one after another. */
const sockets = (): number =>
  readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith('socket:');
    } catch {
      return false; // the one that the folder was read by
    }
  }).length;

test.serial('a bridge that is swept again and again, and made anew in between, costs no descriptors', async (t) => {
  const lab = new Lab(true);
  try {
    await lab.start({ sources: ARP_ONLY, prefixes: ['10.10.10.252/30'] as Prefix[] });
    const before = sockets();
    for (let time = 1; time <= 3; time++) {
      lab.routes.sweep();
      t.true(await until(() => lab.routes.counters()['sweep.done'] === time));
      t.is(sockets(), before, `after sweep ${time}`);
      ip('-n', lab.tor, 'link', 'del', 'br0');
      ip('-n', lab.tor, 'link', 'add', 'br0', 'address', '02:00:00:00:00:fe', 'type', 'bridge');
      for (const port of ['A1', 'A2']) ip('-n', lab.tor, 'link', 'set', port, 'master', 'br0');
      ip('-n', lab.tor, 'link', 'set', 'br0', 'up');
      ip('-n', lab.tor, 'address', 'add', '10.10.10.254/24', 'dev', 'br0');
      const bridged = (port: string) => lab.kernel.portByIndex(lab.kernel.port(port)?.master ?? 0)?.name === 'br0';
      const addressed = () => (lab.kernel.port('br0')?.addresses.length ?? 0) > 0;
      t.true(await until(() => bridged('A1') && bridged('A2') && addressed()));
    }
    t.is(lab.routes.counters()['sweep.failed'], 0);
    t.true(lab.routes.counters()['sweep.asked']! > 0);
  } finally {
    lab.close();
  }
});

for (const bridged of [false, true]) {
  const where = bridged ? 'a bridge' : 'routed ports';
  test.serial(`R4.1 a sweep finds silent servers behind ${where}, and says so`, async (t) => {
    const lab = new Lab(bridged);
    try {
      lab.addHost('A1', '10.10.10.5/24');
      lab.addHost('A2', '10.10.10.60/24');
      await lab.start({ sources: ARP_ONLY, prefixes: PREFIXES, sweep: { enabled: true, rate: 500 } });
      t.true(await until(() => lab.model.has(address('10.10.10.5')) && lab.model.has(address('10.10.10.60'))));
      t.deepEqual(lab.at('10.10.10.5'), { port: 'A1', interface: bridged ? 'br0' : 'A1' });
      t.deepEqual(lab.at('10.10.10.60'), { port: 'A2', interface: bridged ? 'br0' : 'A2' });
      t.is(lab.routes.find(address('10.10.10.60'))?.sources[0]?.how, 'sweep');
      t.true(await until(() => lab.routes.counters()['sweep.done'] === 1));
      t.log(`${lab.routes.counters()['sweep.asked']} questions`);
    } finally {
      lab.close();
    }
  });
}

test.serial('R4.1 IPv6: silent servers are found by one echo to all nodes', async (t) => {
  const lab = new Lab(false);
  try {
    lab.addHost('A1', '2001:db8::5/64');
    lab.addHost('A2', '2001:db8::7/64');
    await lab.start({ sources: ARP_ONLY, prefixes: ['2001:db8::/64'] as Prefix[] });
    const plan = lab.routes.sweep();
    t.like(plan, { interfaces: 2, addresses: 0, questions: 2 });
    t.true(await until(() => lab.model.size === 2));
    t.is(lab.at('2001:db8::5').port, 'A1');
    t.is(lab.at('2001:db8::7').port, 'A2');
  } finally {
    lab.close();
  }
});

test.serial('R4.1 a port that comes up later is swept then; by default none is', async (t) => {
  for (const enabled of [true, false]) {
    const lab = new Lab(false);
    try {
      lab.addHost('A2', '10.10.10.9/24');
      ip('-n', lab.hosts.A2, 'link', 'set', 'eth0', 'down');
      await until(() => !ip('-n', lab.tor, 'link', 'show', 'A2').includes('LOWER_UP'));
      await lab.start({ sources: ARP_ONLY, prefixes: PREFIXES, sweep: { enabled, rate: 1000 } });
      await new Promise((resolve) => setTimeout(resolve, 300));
      ip('-n', lab.hosts.A2, 'link', 'set', 'eth0', 'up');
      if (enabled) t.true(await until(() => lab.model.has(address('10.10.10.9'))));
      else await new Promise((resolve) => setTimeout(resolve, 500));
      t.is(lab.model.size, enabled ? 1 : 0);
      t.is(lab.routes.counters()['sweep.asked']! > 0, enabled);
    } finally {
      lab.close();
    }
  }
});

test.serial(
  'R4.1 who is behind the other switch is not asked by a sweep, but where hosts use both links',
  async (t) => {
    for (const activeActive of [false, true]) {
      const lab = new Lab(false);
      try {
        for (const text of ['10.10.10.5/24', '10.10.10.6/24']) lab.addHost('A1', text);
        await lab.start({ sources: ARP_ONLY, prefixes: PREFIXES, activeActive });
        lab.routes.foreignClaim({ address: address('10.10.10.5'), level: 0, from: 'B' });
        lab.routes.sweep();
        t.true(await until(() => lab.routes.counters()['sweep.done'] === 1 && lab.model.has(address('10.10.10.6'))));
        if (activeActive) t.true(await until(() => lab.model.has(address('10.10.10.5'))));
        else t.false(lab.model.has(address('10.10.10.5')));
      } finally {
        lab.close();
      }
    }
  },
);

test.serial('R4.1 the sweep asks as the gateway, or as nobody (RFC 5227) where we have no address', async (t) => {
  const lab = new Lab(false);
  try {
    ip('-n', lab.tor, 'address', 'del', '10.10.10.254/32', 'dev', 'A2');
    await lab.start({ sources: ARP_ONLY, prefixes: ['10.10.10.252/30'] as Prefix[] });
    const wires = { A1: lab.wire('A1', ETH_P.ALL), A2: lab.wire('A2', ETH_P.ALL) };
    lab.routes.sweep();
    const heard = { A1: new Set<string>(), A2: new Set<string>() };
    const read = (): boolean => {
      for (const port of ['A1', 'A2'] as const) {
        for (const { data } of wires[port].receiveBatch()) {
          const packet = data.readUInt16BE(12) === 0x0806 ? decodeArp(data.subarray(14)) : 'other';
          if (typeof packet === 'object') heard[port].add(`${packet.senderAddress} asks for ${packet.targetAddress}`);
        }
      }
      return heard.A1.size + heard.A2.size === 2;
    };
    t.true(await until(read), JSON.stringify([...heard.A1, ...heard.A2]));
    t.deepEqual([...heard.A1], ['10.10.10.254 asks for 10.10.10.253'], 'and not for itself');
    t.deepEqual([...heard.A2], ['0.0.0.0 asks for 10.10.10.253']);
    lab.routes.configure(policy({ ports: ['A1', 'A2'], prefixes: ['10.0.0.0/8'] as Prefix[] }));
    t.regex(String(lab.routes.sweep()), /more than the 4096/);
  } finally {
    lab.close();
  }
});
