import test from 'ava';
import { decodePacket } from 'node-ospf-lsa';
import { host, ip, Wire, World } from './simulation.ts';

test('§10.9 Loading ends also when the last LSA that was asked of a neighbour is brought by another', (t) => {
  const world = new World();
  const [ga, gb, ab] = [new Wire('point-to-point'), new Wire('point-to-point'), new Wire('point-to-point')];
  const g = world.router('G', '10.255.0.254', [
    { wire: ga, address: '192.0.2.1', prefixLength: 30 },
    { wire: gb, address: '192.0.2.5', prefixLength: 30 },
  ]);
  const a = world.router('A', '10.255.0.1', [
    { wire: ga, address: '192.0.2.2', prefixLength: 30 },
    { wire: ab, address: '192.0.2.9', prefixLength: 30 },
  ]);
  const b = world.router('B', '10.255.0.2', [
    { wire: gb, address: '192.0.2.6', prefixLength: 30 },
    { wire: ab, address: '192.0.2.10', prefixLength: 30 },
  ]);
  /** Whose link state updates to G are lost. */
  const mute = new Set<unknown>();
  const transmit = world.transmit.bind(world);
  world.transmit = (from, name, to, bytes) => {
    const decoded = decodePacket(bytes);
    if (decoded.ok && decoded.value.type === 4 && name === 'i0' && mute.has(from)) return;
    transmit(from, name, to, bytes);
  };
  const stateOf = (id: string): string | undefined =>
    [...g.machine.core.interfaces.values()]
      .flatMap(({ neighbors }) => [...neighbors.values()])
      .find(({ routerId }) => routerId === ip(id))?.state;

  g.up(1);
  a.up(1);
  b.up();
  world.until(
    'Full by way of B',
    () => stateOf('10.255.0.2') === 'Full' && b.states().every((each) => each === 'Full'),
  );
  world.run(10_000);
  mute.add(a).add(b);
  a.announce(host('10.10.10.1'));
  world.run(100);
  g.up(0);
  a.up(0);
  world.until('Loading', () => stateOf('10.255.0.1') === 'Loading');
  mute.delete(b);
  world.run(12_000);
  t.true(g.machine.core.external.entries.size > 0, 'B has brought it');
  t.is(stateOf('10.255.0.1'), 'Full');
});
