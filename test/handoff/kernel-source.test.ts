/** R4.1: hosts that another program names by routes in a kernel table. */
import test from 'ava';
import { KernelHosts } from '../../src/agent/tor/kernel-hosts.ts';
import { prefixContains } from '../../src/model/address.ts';
import { systemClock } from '../../src/model/clock.ts';
import { address, mac } from '../hostroutes/helpers.ts';
import { ip, Lab, until } from '../hostroutes/lab.ts';
import { prefix } from '../netlink/helpers.ts';

const silent = () => undefined;
const TABLE = 77;
/** Nothing is learned by listening: what appears comes from the table. */
const SOURCES = { arp: false, neighbours: false, bgp: false, kernel: true, static: [] };

async function withSource(run: (lab: Lab, route: (...words: string[]) => void, source: KernelHosts) => Promise<void>) {
  const lab = new Lab(false);
  let source: KernelHosts | undefined;
  try {
    lab.addHost('A1', '10.10.10.1/24');
    lab.addHost('A1', '10.10.10.7/24');
    lab.addHost('A2', '10.10.10.8/24');
    const route = (...words: string[]) => ip('-n', lab.tor, 'route', ...words, 'table', String(TABLE));
    route('add', '10.10.10.1/32', 'dev', 'A1');
    await lab.start({ sources: SOURCES });
    source = new KernelHosts({
      watch: () => lab.kernel.watchRoutes(),
      hosts: lab.routes,
      links: lab.kernel,
      clock: systemClock,
      log: { debug: silent, info: silent, warn: silent, error: silent },
      limit: () => 4,
      concerns: (each) => prefixContains(prefix('10.10.10.0/24'), each),
    });
    const { events } = lab;
    const push = events.push.bind(events);
    events.push = (...more) => {
      for (const event of more) if (event.type === 'changed') source!.hostChanged(event.address);
      return push(...more);
    };
    lab.kernel.onChange((change) => source!.linkChanged(change));
    await source.configure(TABLE);
    await run(lab, route, source);
  } finally {
    source?.close();
    lab.close();
  }
}

const sourceOf = (lab: Lab, text: string) => lab.routes.find(address(text))?.source;

test.serial('R4.1 a /32 in the table is a host behind its port: found, moved, and gone with its route', async (t) => {
  await withSource(async (lab, route) => {
    t.true(await until(() => sourceOf(lab, '10.10.10.1') === 'kernel'), 'one that stood there before');
    t.is(lab.model.get(address('10.10.10.1'))?.mac, mac(1));
    route('add', '10.10.10.7/32', 'dev', 'A1');
    t.true(await until(() => sourceOf(lab, '10.10.10.7') === 'kernel'));
    t.deepEqual(lab.at('10.10.10.7'), { port: 'A1', interface: 'A1' });

    // Not a host route, not inside the prefixes, not a downlink: nothing.
    route('add', '10.10.10.128/25', 'dev', 'A1');
    route('add', '198.51.100.1/32', 'dev', 'A1');
    route('add', '10.10.10.9/32', 'dev', 'lo');
    t.true(await until(() => Number(lab.routes.counters()['refused.not-a-downlink']) > 0));
    t.deepEqual([...lab.model.keys()].sort(), ['10.10.10.1', '10.10.10.7']);

    route('replace', '10.10.10.7/32', 'dev', 'A2');
    t.true(await until(() => lab.at('10.10.10.7').port === 'A2'), 'the route says where, whoever answers');
    route('del', '10.10.10.7/32');
    t.true(await until(() => !lab.model.has(address('10.10.10.7'))));
    route('flush');
    t.true(await until(() => lab.model.size === 0));
  });
});

test.serial('R4.1 a container behind a server: the route has a gateway, whose MAC the frames go to', async (t) => {
  await withSource(async (lab, route) => {
    ip('-n', lab.tor, 'route', 'add', '10.10.10.8/32', 'dev', 'A2');
    route('add', '10.10.10.50/32', 'via', '10.10.10.8', 'dev', 'A2');
    t.true(await until(() => lab.model.has(address('10.10.10.50'))));
    t.is(lab.model.get(address('10.10.10.50'))?.mac, mac(2));
    t.deepEqual(lab.at('10.10.10.50'), { port: 'A2', interface: 'A2' });
  });
});

test.serial('R4.5 hosts of the table go with their port and come back with it, if their routes do', async (t) => {
  await withSource(async (lab, route, source) => {
    route('add', '10.10.10.7/32', 'dev', 'A1');
    t.true(await until(() => lab.model.size === 2));
    // Carrier: the routes stay in the table.
    ip('-n', lab.hosts.A1, 'link', 'set', 'eth0', 'down');
    t.true(await until(() => lab.model.size === 0));
    ip('-n', lab.hosts.A1, 'link', 'set', 'eth0', 'up');
    t.true(await until(() => sourceOf(lab, '10.10.10.7') === 'kernel' && lab.model.size === 2));
    // Shut: the kernel drops them, without a word.
    ip('-n', lab.tor, 'link', 'set', 'A1', 'down');
    t.true(await until(() => source.counters().routes === 0));
    ip('-n', lab.tor, 'link', 'set', 'A1', 'up');
    route('add', '10.10.10.7/32', 'dev', 'A1');
    t.true(await until(() => sourceOf(lab, '10.10.10.7') === 'kernel'));
    // What it says beyond the limit is counted, and the source can be switched off.
    for (const last of [20, 21, 22, 23]) route('add', `10.10.10.${last}/32`, 'dev', 'A2');
    t.true(await until(() => source.counters().overLimit === 1));
    await source.configure(undefined);
    t.is(lab.routes.find(address('10.10.10.7'))?.state, 'gone');
  });
});

test.serial('a table that is switched off while it is read puts nobody in', async (t) => {
  await withSource(async (lab, _, source) => {
    t.true(await until(() => sourceOf(lab, '10.10.10.1') === 'kernel'));
    const reading = source.configure(TABLE);
    await source.configure(undefined);
    await reading;
    t.is(source.counters().routes, 0);
  });
});
