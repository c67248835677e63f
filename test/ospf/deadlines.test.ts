import test from 'ava';
import fc from 'fast-check';
import { Deadlines, deadline } from '../../src/ospf/machine/deadlines.ts';

test('deadlines: always the earliest first, through any order of setting and cancelling', (t) => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(30), fc.nat(1000), fc.boolean()), { maxLength: 200 }), (operations) => {
      const deadlines = new Deadlines();
      const timers = Array.from({ length: 31 }, () => deadline(() => {}));
      const model = new Map<number, number>();
      for (const [index, at, cancel] of operations) {
        if (cancel) {
          deadlines.cancel(timers[index]!);
          model.delete(index);
        } else {
          deadlines.set(timers[index]!, at);
          model.set(index, at);
        }
        const expected = model.size === 0 ? undefined : Math.min(...model.values());
        if (deadlines.next() !== expected) return false;
      }
      const taken: number[] = [];
      for (let due = deadlines.takeDue(500); due; due = deadlines.takeDue(500)) taken.push(due.at);
      const wanted = [...model.values()].filter((at) => at <= 500).sort((a, b) => a - b);
      return JSON.stringify(taken) === JSON.stringify(wanted);
    }),
  );
  t.pass();
});
