/** R4.7: what another program removes of our rules is put back, so often a minute. */
import test, { type ExecutionContext } from 'ava';
import { AF, type Change, FR_ACT, type Rule } from 'rtnetlink-ts';
import type { Log } from '../../src/model/log.ts';
import { type Kernel, RuleKeeper } from '../../src/netlink/index.ts';
import { VirtualClock } from '../simulation/clock.ts';
import { type Box, eventually, inBoxes, mac, withKernel } from './helpers.ts';
import { optionsFor } from './repair-fabric.ts';

const RULE: Rule = { family: AF.INET, priority: 20_000, action: FR_ACT.TO_TBL, table: 20_100, protocol: 201 };
const REMOVED: Change = { kind: 'rule', before: RULE, after: undefined, at: 0, resync: false };

const turns = async () => {
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
};

async function bench(t: ExecutionContext, failures = 0) {
  const clock = new VirtualClock();
  const told = { restored: 0, missing: 0, closed: 0, errors: 0 };
  const log: Log = {
    debug: () => {},
    info: () => {},
    warn: () => {},
    error: () => {
      told.errors++;
    },
  };
  let hear: (change: Change) => void = () => t.fail('nobody listens');
  let left = failures;
  const keeper = new RuleKeeper({
    ...{ clock, log },
    open: async () => {
      if (left-- > 0) throw new Error('no more sockets');
      return {
        onChange: (listener) => {
          hear = listener;
        },
        close: () => {
          told.closed++;
        },
      };
    },
  });
  const unkeep = keeper.keep({
    name: 'uplinks',
    isWanted: (rule) => rule === RULE,
    restore: () => {
      told.restored++;
    },
    onMissing: () => {
      told.missing++;
    },
  });
  await turns();
  const pass = (ms: number) => {
    const end = clock.now() + ms;
    while (clock.step(end));
  };
  return { clock, keeper, unkeep, told, pass, hear: (change: Change) => hear(change) };
}

test('R4.7 rules that are removed at a stroke are put back at a stroke; what nobody wants is nobody’s concern', async (t) => {
  const { keeper, told, pass, hear } = await bench(t);
  for (let rule = 0; rule < 16; rule++) hear(REMOVED);
  hear({ ...REMOVED, before: { ...RULE } });
  hear({ ...REMOVED, before: undefined, after: RULE });
  t.is(told.restored, 0);
  pass(20);
  t.is(told.restored, 1);
  pass(600_000);
  t.is(told.restored, 1);
  t.deepEqual(keeper.counters(), { removed: 16, putBack: 1, contested: 0 });
  t.deepEqual(keeper.contested(), []);
});

test('R4.7 who removes them at once again is not fought: ten times a minute, and it is said', async (t) => {
  const { clock, keeper, told, pass, hear } = await bench(t);
  const end = clock.now() + 600_000;
  while (clock.now() < end) {
    hear(REMOVED);
    pass(100);
  }
  t.true(told.restored <= 10 * 11, `${told.restored} times in ten minutes`);
  t.true(told.restored >= 10 * 9, `${told.restored} times in ten minutes`);
  t.true(told.missing > 0);
  t.is(told.errors, told.missing);
  t.deepEqual(keeper.contested(), ['uplinks']);
  // He gives in: the last time we put it back it stays.
  pass(60_000);
  const { restored } = told;
  pass(120_000);
  t.is(told.restored, restored);
  t.deepEqual(keeper.contested(), []);
  t.is(clock.pending, 0);
});

test('R4.7 a socket that can not be had is tried for again, and nothing goes on after the end', async (t) => {
  const { clock, keeper, unkeep, told, pass, hear } = await bench(t, 1);
  t.is(told.restored, 0);
  pass(1_000);
  await turns();
  t.is(told.restored, 1, 'as nobody listened before');
  hear(REMOVED);
  unkeep();
  keeper.close();
  pass(60_000);
  hear(REMOVED);
  t.like(told, { restored: 1, closed: 1 });
  t.is(clock.pending, 0);
});

/** Those of ours, which name a port. */
const rulesOf = (box: Box): string[] =>
  ['-4', '-6']
    .flatMap((family) => box.ip(`${family} rule show`).split('\n'))
    .filter((line) => line.includes(' iif ') && !line.includes('lookup 77'));

async function attacked(t: ExecutionContext, box: Box, kernel: Kernel, priority: number): Promise<void> {
  const wanted = rulesOf(box).join();
  const removed = () => kernel.counters()['rules.removed']!;
  box.ip(`rule del priority ${priority}`);
  await eventually(() => rulesOf(box).join() === wanted && removed() === 1);
  for (const family of ['-4', '-6'] as const) {
    const before = removed();
    box.ip(`${family} rule add iif C0 lookup 77 priority 19000`);
    box.ip(`${family} rule flush`);
    box.ip(`${family} rule add iif C0 lookup 77 priority 19000`);
    await eventually(() => rulesOf(box).join() === wanted && removed() >= before + wanted.split(',').length / 2);
    box.ip(`${family} rule del priority 19000`);
  }
  t.deepEqual(kernel.contestedRules(), []);
  t.is(rulesOf(box).join(), wanted);
}

test.serial('R4.7 ip rule flush and ip rule del: the rules of uplinks are back, of both families', (t) => {
  t.timeout(120_000);
  return inBoxes(1, async (box) => {
    await withKernel(box!, async (kernel) => {
      const heard: boolean[] = [];
      const rules = kernel.fabricRules({ table: 20_100, protocol: 201, onReady: (ready) => heard.push(ready) });
      await rules.configure(['A0', 'B0']);
      t.is(rulesOf(box!).length, 4);
      await attacked(t, box!, kernel, 20_001);
      t.deepEqual(heard, [true], 'none has waited');
      await rules.leave();
      t.deepEqual(rulesOf(box!), []);
    });
  });
});

test.serial('R4.5 the same of packets for hosts that we stand by for', (t) => {
  t.timeout(120_000);
  return inBoxes(1, async (box) => {
    await withKernel(box!, async (kernel) => {
      const door = { interface: 'lo', ifindex: 1, mac: mac('02:00:00:00:00:01') };
      const table = kernel.shadowTable({ table: 20_101, protocol: 204, door });
      await table.start(['A0', 'B0']);
      t.is(rulesOf(box!).length, 6);
      await attacked(t, box!, kernel, 20_101);
      await table.leave();
      t.deepEqual(rulesOf(box!), []);
    });
  });
});

test.serial('R4.5 the same of what comes out of a repair tunnel, which must never go back into the fabric', (t) => {
  t.timeout(120_000);
  return inBoxes(1, async (box) => {
    await withKernel(box!, async (kernel) => {
      const path = await kernel.repairPath(optionsFor({}));
      t.is(rulesOf(box!).length, 6);
      await attacked(t, box!, kernel, 20_202);
      await path.leave();
      t.deepEqual(rulesOf(box!), []);
    });
  });
});
