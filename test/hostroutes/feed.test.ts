import test from 'ava';
import { Feed } from '../../src/hostroutes/feed.ts';
import type { HostEvent } from '../../src/hostroutes/machine/types.ts';
import { address, heard } from './helpers.ts';

const endOfTurn = () => new Promise((resolve) => setImmediate(resolve));

const names = (event: HostEvent): string[] => {
  if (event.type === 'batch') return event.events.flatMap(names);
  return ['address' in event ? event.address : event.type];
};

function make(onHandle: (event: HostEvent) => void = () => undefined) {
  const handled: string[] = [];
  const feed = new Feed({
    now: () => 7,
    handle: (event, at) => {
      handled.push(`${names(event).join(' ')} at ${at}`);
      onHandle(event);
    },
    done: () => handled.push('done'),
  });
  return { feed, handled };
}

const [ONE, TWO, THREE, FOUR] = [1, 2, 3, 4].map((last) => heard(`10.10.10.${last}`, `A${last}`)) as [
  HostEvent,
  HostEvent,
  HostEvent,
  HostEvent,
];

test('R4.1 what is heard first is told at once, what other ports say in the same turn together, at its end', async (t) => {
  const { feed, handled } = make();
  feed.hear([ONE]);
  t.deepEqual(handled, ['10.10.10.1 at 7', 'done']);
  feed.hear([TWO]);
  feed.hear([THREE, FOUR]);
  t.is(handled.length, 2);
  await endOfTurn();
  t.deepEqual(handled.slice(2), ['10.10.10.2 10.10.10.3 10.10.10.4 at 7', 'done']);
  feed.hear([ONE]);
  t.is(handled.length, 6, 'the next turn has a first of its own');
});

test('R4.5 what many wait for is told ahead of what was heard before it in the turn', async (t) => {
  const { feed, handled } = make();
  feed.ahead(ONE);
  feed.hear([TWO]);
  feed.ahead(THREE);
  t.deepEqual(handled, ['10.10.10.1 at 7', 'done', '10.10.10.3 at 7', 'done']);
  await endOfTurn();
  t.deepEqual(handled.slice(4), ['10.10.10.2 at 7', 'done']);
});

test('what was heard comes before whatever happens next, so that nobody is silent who has answered', async (t) => {
  const { feed, handled } = make();
  feed.hear([ONE]);
  feed.hear([TWO]);
  feed.give({ type: 'tick' }, 8);
  t.deepEqual(handled, ['10.10.10.1 at 7', 'done', '10.10.10.2 at 7', 'done', 'tick at 8', 'done']);
  await endOfTurn();
  t.is(handled.length, 6);
});

test('R4.5 a port that goes down waits for nothing that was heard', async (t) => {
  const { feed, handled } = make();
  feed.hear([ONE]);
  feed.hear([TWO]);
  feed.give({ type: 'portDown', ports: ['A3'], reason: 'carrier lost' }, 8);
  t.is(handled[2], 'portDown at 8');
  await endOfTurn();
  t.is(handled[4], '10.10.10.2 at 7');
});

test('what is caused by what is told waits until that is told', async (t) => {
  const { feed, handled } = make((event) => {
    if (event === ONE) feed.give({ type: 'unseek', address: address('10.10.10.9') }, 9);
  });
  feed.hear([ONE]);
  t.deepEqual(handled, ['10.10.10.1 at 7', '10.10.10.9 at 9', 'done']);
  feed.hear([TWO]);
  feed.clear();
  await endOfTurn();
  t.is(handled.length, 3, 'nobody listens any more');
});
