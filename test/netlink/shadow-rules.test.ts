/** R4.5: the rules by which packets find the waiting room, on a kernel that has no IPv6 and on one that can't be read. */
import test, { type ExecutionContext } from 'ava';
import { AF, type BatchResult, NetlinkError, type Refusal, type Request, RTM } from 'rtnetlink-ts';
import type { Mac } from '../../src/model/address.ts';
import { ShadowTable, type ShadowTableOptions } from '../../src/netlink/index.ts';
import { VirtualClock } from '../simulation/clock.ts';

const DOOR: ShadowTableOptions['door'] = { interface: 'door0', ifindex: 9, mac: '02:00:00:00:00:09' as Mac };

/** Reads of IPv6's rules are refused with `code` as long as `box.refuses`. */
function bench(t: ExecutionContext, code: string, errno: number) {
  const clock = new VirtualClock();
  const box = { refuses: true, readings: 0, rules: [] as number[] };
  let family: number = AF.INET;
  const refusal = (request: string): Refusal => ({ code, errno, extack: undefined, request });
  const socket = {
    dumpRules: async (asked: { readonly family: number }) => {
      family = asked.family;
      box.readings++;
      if (family === AF.INET6 && box.refuses) throw new NetlinkError(refusal('RTM_GETRULE'));
      return [];
    },
    dumpRoutes: async () => [],
    dumpNextHops: async () => [],
    sendNow: async (batch: readonly Request[]): Promise<Pick<BatchResult, 'refused'>> => {
      const rules = batch.filter(({ type }) => type === RTM.NEWRULE);
      box.rules.push(...rules.map(() => family));
      return { refused: [] };
    },
  } as unknown as ConstructorParameters<typeof ShadowTable>[0];
  const table = new ShadowTable(socket, clock, { table: 20_101, protocol: 204, door: DOOR });
  t.teardown(() => table.close());
  const pass = async (ms: number) => {
    for (const end = clock.now() + ms; ; ) {
      const more = clock.step(end);
      for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
      if (!more) return;
    }
  };
  return { clock, box, table, pass };
}

for (const [code, errno] of [
  ['EAFNOSUPPORT', 97],
  ['EOPNOTSUPP', 95],
] as const) {
  test(`R4.5 where IPv6 is switched off at boot (${code}), IPv4 works without it and nothing is tried for ever`, async (t) => {
    const { clock, box, table, pass } = bench(t, code, errno);
    await table.start(['A0']);
    await pass(2_000);
    t.true(box.rules.includes(AF.INET));
    const { readings } = box;
    await pass(60_000);
    t.is(box.readings, readings);
    t.false(box.rules.includes(AF.INET6));
    t.is(clock.pending, 0);
  });
}

test('R4.5 rules of IPv6 that can not be read just now are not taken for none: they are written when they can', async (t) => {
  const { clock, box, table, pass } = bench(t, 'ENOBUFS', 105);
  await t.throwsAsync(table.start(['A0']), { message: /ENOBUFS/ });
  await pass(1_000);
  t.false(box.rules.includes(AF.INET6));
  box.refuses = false;
  await pass(1_000);
  t.true(box.rules.includes(AF.INET6));
  await pass(10_000);
  t.is(clock.pending, 0);
});
