import test from 'ava';
import { Follower } from '../../../src/agent/host/follower.ts';
import type { Address } from '../../../src/model/address.ts';
import type { OverlayChange, OverlayInstance, OverlayState } from '../../../src/model/overlay.ts';
import { VirtualClock } from '../../simulation/clock.ts';

const instance = (name: string, device: string): OverlayInstance => ({
  ...{ name, network: 'blue', address: '10.200.1.2' as Address, interface: device, origin: 'control' },
});
const change = (op: 'added' | 'removed', item: OverlayInstance): OverlayChange => ({ kind: 'instance', op, item });
const state = {} as OverlayState;

function follower() {
  const clock = new VirtualClock();
  const calls: (readonly OverlayChange[])[] = [];
  const world = { refuses: false };
  const led = new Follower({
    projection: {
      apply: async (_: OverlayState, changes: readonly OverlayChange[]) => {
        calls.push(changes);
        if (world.refuses) throw new Error('refused');
      },
    },
    clock,
    after: [],
    onRefused: () => undefined,
    onBack: () => undefined,
  });
  return { clock, calls, world, led };
}

test('what was refused may stand in part: when it goes before it could be had, it is taken away all the same', async (t) => {
  const { calls, world, led } = follower();
  const [first, other] = [instance('c1', 'veth1'), instance('c1', 'veth2')];
  world.refuses = true;
  led.push(state, [change('added', first)]);
  await led.settled();
  world.refuses = false;
  led.push(state, [change('removed', first)]);
  await led.settled();
  t.deepEqual(calls.at(-1), [change('removed', first)]);

  world.refuses = true;
  led.push(state, [change('added', first)]);
  await led.settled();
  led.push(state, [change('removed', first), change('added', other)]);
  await led.settled();
  led.push(state, [change('removed', other)]);
  await led.settled();
  t.deepEqual(calls.at(-1), [change('removed', other), change('removed', first)]);
});

test('one call at a time; what changes meanwhile is in the next, and what was refused is tried again with it', async (t) => {
  const { clock, calls, world, led } = follower();
  const [one, two, three] = ['c1', 'c2', 'c3'].map((name, at) => instance(name, `veth${at}`)) as [
    OverlayInstance,
    OverlayInstance,
    OverlayInstance,
  ];
  led.push(state, [change('added', one)]);
  led.push(state, [change('added', two)]);
  world.refuses = true;
  led.push(state, [change('added', three)]);
  await led.settled();
  t.deepEqual(calls.splice(0), [[change('added', one)], [change('added', two), change('added', three)]]);
  t.is(led.refusal?.message, 'refused');
  world.refuses = false;
  clock.step(clock.now() + 2000);
  await led.settled();
  t.deepEqual(calls, [[change('added', two), change('added', three)]]);
  t.is(led.refusal, undefined);
});
