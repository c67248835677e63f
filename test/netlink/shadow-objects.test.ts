/** R4.5: shadows, and what is left of them, on a kernel that has no next-hop objects (before Linux 5.3). */
import test from 'ava';
import { type BatchResult, NetlinkError, type Refusal, type Request, RTM, type Rtnetlink } from 'rtnetlink-ts';
import { LEAST_GROUP } from '../../src/model/hosts.ts';
import { findShadows, ShadowTable } from '../../src/netlink/index.ts';
import { findLeftovers } from '../../src/netlink/leftovers.ts';
import { VirtualClock } from '../simulation/clock.ts';
import { address, mac } from './helpers.ts';

const PROTOCOL = 204;
const refusal = (request: string, code = 'EOPNOTSUPP'): Refusal => ({ code, errno: 95, extack: undefined, request });

function oldKernel() {
  const box = { batches: [] as (readonly number[])[], readings: 0, code: 'EOPNOTSUPP' };
  const socket = {
    dumpRules: async () => [],
    dumpRoutes: async () => [],
    dumpLinks: async () => [],
    dumpNeighbours: async () => [],
    dumpNextHops: async () => {
      box.readings++;
      throw new NetlinkError(refusal('RTM_GETNEXTHOP', box.code));
    },
    sendNow: async (batch: readonly Request[]): Promise<Pick<BatchResult, 'refused'>> => {
      box.batches.push(batch.map(({ type }) => type));
      const refused = batch.flatMap(({ type }, index) =>
        type === RTM.NEWNEXTHOP ? [{ index, refusal: refusal('RTM_NEWNEXTHOP') }] : [],
      );
      return { refused };
    },
  } as unknown as Rtnetlink;
  return { box, socket };
}

test('R4.5 without next-hop objects each shadow has a way of its own, and nothing is tried for ever', async (t) => {
  const clock = new VirtualClock();
  const { box, socket } = oldKernel();
  const door = { interface: 'door0', ifindex: 9, mac: mac('02:00:00:00:00:09') };
  const table = new ShadowTable(socket, clock, { table: 20_101, protocol: PROTOCOL, door });
  t.teardown(() => table.close());
  const pass = async (ms: number) => {
    for (const end = clock.now() + ms; ; ) {
      const more = clock.step(end);
      for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
      if (!more) return;
    }
  };
  await table.start(['A0']);
  const group = '10.255.0.1/7';
  const hosts = Array.from({ length: LEAST_GROUP }, (_, index) => ({
    address: address(`10.10.10.${index + 1}`),
    group,
  }));
  table.apply([], hosts);
  await pass(0);
  box.batches = [];
  await pass(5_000);
  const again = box.batches.flat();
  t.is(again.filter((type) => type === RTM.NEWROUTE).length, hosts.length);
  t.false(again.includes(RTM.NEWNEXTHOP));
  t.like(table.counters(), { hosts: hosts.length, groups: 0 });
  const { readings } = box;
  await pass(60_000);
  t.is(box.readings, readings);
  t.is(clock.pending, 0);
});

test('R4.5 there is nothing of them to be cleaned up, unless they can not be read just now', async (t) => {
  const { box, socket } = oldKernel();
  t.deepEqual((await findShadows(socket, PROTOCOL)).objects, []);
  const found = await findLeftovers(socket, { protocol: 201, readTable: undefined, protodownReason: 1 });
  t.deepEqual(found.repair.backups.objects, []);
  box.code = 'ENOBUFS';
  await t.throwsAsync(findShadows(socket, PROTOCOL), { message: /ENOBUFS/ });
});
