import test from 'ava';
import { vrfsOf } from '../../src/cli/interfaces.ts';
import { formatProblem, parseConfig, vrfProblems } from '../../src/config/index.ts';

const port = (name: string, ifindex: number, master = 0, kind: string | undefined = undefined) => ({
  name,
  ifindex,
  master,
  kind,
});

const BOX = [
  port('A0', 2, 9),
  port('A9', 3, 8),
  port('A1', 4, 10),
  port('bond0', 8, 9, 'bond'),
  port('red', 9, 0, 'vrf'),
  port('br0', 10, 0, 'bridge'),
];

function problems(shadow: string, uplinks = '[A0]'): string[] {
  const text = `role: tor
routerId: 10.255.0.1
hostRoutes: { prefixes: [10.10.10.0/24], ports: [A1] }
portLink: [{ name: fabric, uplinks: ${uplinks}, downlinks: [A1] }]
shadow: ${shadow}
`;
  const loaded = parseConfig(text, 'F');
  if (!loaded.ok) throw new Error(loaded.problems.map(formatProblem).join());
  return vrfProblems(loaded, vrfsOf(BOX)).map(formatProblem);
}

test('the VRF of a port is that of the bond that it is in', (t) => {
  t.deepEqual(Object.fromEntries(vrfsOf(BOX)), { A0: 'red', A9: 'red', bond0: 'red' });
  t.deepEqual([...vrfsOf([port('A0', 2, 2)])], [], 'a port that is its own master');
});

test('with shadows an uplink in a VRF is an error with its place, without them it is none', (t) => {
  const [first, ...more] = problems('{ enabled: true, repair: false }', "[B0, 'A[0,9]']");
  t.regex(first ?? '', /^F:4:\d+: .*A0 is in the VRF red: packets for hosts that are stood by for would neither wait/);
  t.regex(first ?? '', /Take the uplink out of the VRF/);
  t.is(more.length, 1);
  t.deepEqual(problems('{ enabled: false }'), []);
  t.deepEqual(problems('{ enabled: true }', '[B0]'), []);
});
