/** What the host table does with what an earlier life knew. */
import test from 'ava';
import { address, Bench, heard, policy, probes } from './helpers.ts';
import { Lab, until } from './lab.ts';

const remembered = (text: string, port: string) => {
  const { address: host, mac: server, interface: name, ifindex } = heard(text, port);
  return { address: host, mac: server, port, interface: name, ifindex, returns: undefined };
};

test('R4.2 R4.7 whom an earlier life knew is asked when the next one begins, and announced when it answers', (t) => {
  const bench = new Bench();
  bench.live('10.10.10.1', 'A1');
  bench.do({ type: 'blockPorts', ports: ['A2'], blocked: true, reason: 'group' });
  bench.do({
    type: 'remember',
    hosts: [remembered('10.10.10.1', 'A1'), remembered('10.10.10.2', 'A1'), remembered('10.10.10.3', 'A2')],
  });
  t.deepEqual(probes(bench.run(10_000)), [], 'nobody is asked before the ports are listened to');
  bench.do({ type: 'search', ports: ['A1', 'A2'] });
  const asked = new Set(probes(bench.run(120_000)).map((probe) => `${probe.address} at ${probe.port}`));
  t.deepEqual([...bench.model.keys()], [address('10.10.10.1')]);
  t.deepEqual([...asked].toSorted(), ['10.10.10.1 at A1', '10.10.10.2 at A1'], 'nobody at a shut port');
  t.is(
    probes(bench.run(1_000_000)).filter((probe) => probe.address === address('10.10.10.2')).length,
    0,
    'nor for ever',
  );
});

test('nobody is asked where nobody is to be asked', (t) => {
  const bench = new Bench(policy({ probe: { interval: 0, retries: 3, timeout: 200 } }));
  bench.do({ type: 'remember', hosts: [remembered('10.10.10.1', 'A1')] });
  bench.do({ type: 'search', ports: ['A1'] });
  t.deepEqual(probes(bench.run(60_000)), []);
});

test.serial('R4.2 R4.7 a host that says nothing of itself is found again by the next life', async (t) => {
  const lab = new Lab(false);
  try {
    lab.addHost('A1', '10.10.10.1/24');
    await lab.start({}, [remembered('10.10.10.1', 'A1')]);
    t.true(await until(() => lab.model.has(address('10.10.10.1'))));
    t.is(lab.at('10.10.10.1').port, 'A1');
  } finally {
    lab.close();
  }
});
