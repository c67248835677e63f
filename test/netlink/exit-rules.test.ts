/** R4.5: the rules of the repair tunnel's exit, as they are put back: on a kernel in memory. */
import test from 'ava';
import { AF, NetlinkError, type Rule } from 'rtnetlink-ts';
import type { KeptRules } from '../../src/netlink/index.ts';
import { ExitRules } from '../../src/netlink/repair/exit.ts';
import { VirtualClock } from '../simulation/clock.ts';

const turns = async () => {
  for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
};

/** Each request takes a turn of the loop. */
function bench() {
  const clock = new VirtualClock();
  const box = { rules: [] as Rule[], refuses: false };
  const errors: string[] = [];
  let kept: KeptRules | undefined;
  const refused = (code: string) => new NetlinkError({ code, errno: 1, extack: undefined, request: 'RTM_NEWRULE' });
  const turn = () => new Promise((resolve) => setImmediate(resolve));
  const exit = new ExitRules({
    rtnetlink: {
      dumpRules: async ({ family }) => {
        await turn();
        return box.rules.filter((rule) => rule.family === family);
      },
      addRule: async (rule) => {
        await turn();
        if (box.refuses) throw refused('ENOMEM');
        const same = ({ family, priority }: Rule) => family === rule.family && priority === rule.priority;
        if (box.rules.some(same)) throw refused('EEXIST');
        box.rules.push(rule);
      },
      deleteRule: async (rule) => {
        await turn();
        box.rules = box.rules.filter((each) => each !== rule);
      },
    },
    ...{ clock, device: 'rep0', tables: { hosts: 20_102, shadows: 20_101 }, protocol: 205 },
    keeper: {
      keep: (rules) => {
        kept = rules;
        return () => {};
      },
      listening: async () => {},
    },
    onError: (error) => errors.push(error.message),
  });
  return { clock, box, errors, exit, kept: () => kept! };
}

test('R4.5 who puts them back twice at once writes each once', async (t) => {
  const { clock, box, errors, exit, kept } = bench();
  await exit.open();
  t.is(box.rules.length, 6);
  t.true(box.rules.every((rule) => kept().isWanted(rule)));
  t.false(kept().isWanted({ ...box.rules[0]!, protocol: 3 }), "nobody else's");
  box.rules = [];
  kept().restore();
  kept().restore();
  await turns();
  t.is(box.rules.length, 6);
  t.deepEqual(errors, []);
  t.is(clock.pending, 0);
});

test('R4.5 what the kernel refuses then is tried again, and not after the end', async (t) => {
  const { clock, box, errors, exit, kept } = bench();
  await exit.open();
  box.rules = box.rules.filter(({ family }) => family === AF.INET6);
  box.refuses = true;
  kept().restore();
  await turns();
  t.is(errors.length, 1);
  box.refuses = false;
  clock.step(clock.now() + 1_000);
  await turns();
  t.is(box.rules.length, 6);
  box.rules = [];
  kept().restore();
  exit.close();
  await turns();
  t.deepEqual(box.rules, []);
  t.is(clock.pending, 0);
});
