import test from 'ava';
import fc from 'fast-check';
import { Deadlines, type Line, type Sleeper } from '../../src/hostroutes/machine/deadlines.ts';

class Item implements Sleeper {
  wakeAt = 0;
  line: Line | undefined;
  nextInLine: Sleeper | undefined;
  previousInLine: Sleeper | undefined;
  readonly name: number;
  constructor(name: number) {
    this.name = name;
  }
}

const nameOf = ({ name }: Item): number => name;

const step = fc.record({
  name: fc.nat(19),
  // Few instants, so that lines are shared; never: it is taken out.
  at: fc.oneof(fc.nat(6), fc.double({ min: 0, max: 6, noNaN: true }), fc.constant(Number.POSITIVE_INFINITY)),
  remove: fc.boolean(),
});

test('who is due first comes first, and of one instant who was put there first, whatever was put off or taken out', (t) => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
      const deadlines = new Deadlines<Item>();
      const items = Array.from({ length: 20 }, (_, name) => new Item(name));
      // In the order in which they were put where they are.
      const model = new Map<Item, number>();
      const inOrder = () => [...model].sort(([, one], [, other]) => one - other).map(([item]) => item);
      for (const { name, at, remove } of steps) {
        const item = items[name]!;
        if (remove) deadlines.delete(item);
        else deadlines.set(item, at);
        if (remove || model.get(item) !== at) model.delete(item);
        if (!remove && at !== Number.POSITIVE_INFINITY) model.set(item, at);
        t.is(deadlines.first(), inOrder()[0]);
        for (const [each, wakeAt] of model) t.is(each.wakeAt, wakeAt);
        for (const due of [0, 3, 6]) {
          const seen = new Set<Item>();
          t.false(deadlines.mayBeDue(due, (each) => seen.has(each) || seen.add(each).size === 0));
          const expected = inOrder().filter((each) => each.wakeAt <= due);
          t.deepEqual([...seen].map(nameOf).sort(), expected.map(nameOf).sort());
        }
      }
      const left: Item[] = [];
      for (let next = deadlines.first(); next; next = deadlines.first()) {
        left.push(next);
        deadlines.delete(next);
      }
      t.deepEqual(
        left.map((each) => each.name),
        inOrder().map((each) => each.name),
      );
    }),
  );
});

test('of very many who are due at once only the first are looked at', (t) => {
  const deadlines = new Deadlines<Item>();
  for (let name = 0; name < 2000; name++) deadlines.set(new Item(name), name % 3);
  let looks = 0;
  t.true(deadlines.mayBeDue(5, () => ++looks < 0));
  t.is(looks, 1024);
});
