import test from 'ava';
import { AF, type BatchResult, NetlinkError, type Request, type Rtnetlink } from 'rtnetlink-ts';
import { FabricRules } from '../../src/netlink/index.ts';
import { VirtualClock } from '../simulation/clock.ts';

const RULE = { code: 'ENOMEM', errno: 12, extack: undefined, request: 'RTM_NEWRULE' };

const refusalOf = (code: string, errno: number) =>
  new NetlinkError({ code, errno, extack: undefined, request: 'RTM_GETRULE' });

/** `refuses`: for want of memory; `unread`: what is there can't be read just now; `lacks`: this kernel has no rules of it. */
function bench(t: { teardown(run: () => void): void }, { lacks }: { lacks?: number } = {}) {
  const clock = new VirtualClock();
  const box = {
    refuses: undefined as number | undefined,
    unread: undefined as number | undefined,
    added: [] as number[],
  };
  let family = 0;
  const rtnetlink = {
    dumpRules: async (asked: { readonly family: number }) => {
      family = asked.family;
      if (family === lacks) throw refusalOf('EAFNOSUPPORT', 97);
      if (family === box.unread) throw refusalOf('ENOBUFS', 105);
      return [];
    },
    sendNow: async (batch: readonly Request[]): Promise<Pick<BatchResult, 'refused'>> => {
      if (family === box.refuses) return { refused: batch.map((_, index) => ({ index, refusal: RULE })) };
      box.added.push(family);
      return { refused: [] };
    },
  } as unknown as Pick<Rtnetlink, 'dumpRules' | 'sendNow'>;
  const heard: boolean[] = [];
  const rules = new FabricRules(rtnetlink, clock, {
    ...{ table: 20_100, protocol: 201 },
    onReady: (ready) => heard.push(ready),
  });
  t.teardown(() => rules.close());
  return { clock, box, heard, rules };
}

for (const [name, family] of [
  ['IPv4', AF.INET],
  ['IPv6', AF.INET6],
] as const) {
  test(`R4.7 no host yields before the kernel has taken the ${name} rules, and they are tried again`, async (t) => {
    const { clock, box, heard, rules } = bench(t);
    box.refuses = family;
    await rules.configure(['A0']);
    t.false(rules.ready);
    box.refuses = undefined;
    clock.step(clock.now() + 1_000);
    for (let turns = 0; turns < 20; turns++) await new Promise((resolve) => setImmediate(resolve));
    t.true(rules.ready);
    t.deepEqual(heard, [true]);
    t.true(box.added.includes(family));
  });

  test(`R4.7 nor before the ${name} rules that are there could be read`, async (t) => {
    const { clock, box, rules } = bench(t);
    box.unread = family;
    await rules.configure(['A0']);
    t.false(rules.ready);
    box.unread = undefined;
    clock.step(clock.now() + 1_000);
    for (let turns = 0; turns < 20; turns++) await new Promise((resolve) => setImmediate(resolve));
    t.true(rules.ready);
    t.true(box.added.includes(family));
  });
}

test('R4.7 where IPv6 is switched off at boot, IPv4 yields without it', async (t) => {
  const { box, rules } = bench(t, { lacks: AF.INET6 });
  await rules.configure(['A0']);
  t.true(rules.ready);
  t.deepEqual(box.added, [AF.INET]);
});
