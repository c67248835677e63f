/** What the connection itself promises: refusals, batches, dumps. */
import test from 'ava';
import { AF, Connection, makeRoute, NetlinkError, NUD, type Refusal, RTM, Rtnetlink, requests } from 'rtnetlink-ts';
import { inNamespace, vethPair } from './helpers.ts';

const MAC = '02:00:00:00:00:02';

test.serial('a refusal carries the name of the error and the words of the kernel', async (t) => {
  await inNamespace(async (netns) => {
    const rtnetlink = Rtnetlink.open({ netns });
    t.teardown(() => rtnetlink.close());
    const [{ ifindex }] = await vethPair(rtnetlink, 'A1', 'C1');
    const refused = await t.throwsAsync<NetlinkError>(
      rtnetlink.setRoute(makeRoute({ destination: '10.1.0.0/16', nextHops: [{ gateway: '192.0.2.1' }] })),
      { instanceOf: NetlinkError },
    );
    t.like(refused, { code: 'ENETUNREACH', extack: 'Nexthop has invalid gateway', request: 'RTM_NEWROUTE' });
    const route = makeRoute({ destination: '10.2.0.0/16', nextHops: [{ ifindex }] });
    await rtnetlink.setRoute(route, 'create');
    await t.throwsAsync(rtnetlink.setRoute(route, 'create'), { code: 'EEXIST' });
    await t.throwsAsync(rtnetlink.setLink({ ifindex: 9999, up: true }), { code: 'ENODEV' });
    await t.throwsAsync(rtnetlink.setRoute({ ...route, destination: 'nonsense' }), { code: 'EINVAL' });
    await t.throwsAsync(rtnetlink.getRoute('nonsense'), { instanceOf: TypeError });
    t.is((await rtnetlink.getLink({ name: 'A1' }))!.ifindex, ifindex, 'the connection lives on');
  });
});

test.serial('a batch is done when sendNow returns, and each refusal is told by its place', async (t) => {
  await inNamespace(async (netns) => {
    const rtnetlink = Rtnetlink.open({ netns });
    t.teardown(() => rtnetlink.close());
    const [{ ifindex }] = await vethPair(rtnetlink, 'A1', 'C1');
    const count = 6000;
    const batch = Array.from({ length: count }, (_, index) =>
      requests.setRoute(
        makeRoute({
          destination: index % 1000 === 7 ? 'nonsense' : `10.${index >> 8}.${index & 255}.1/32`,
          nextHops: [{ ifindex: index % 1000 === 500 ? 9999 : ifindex }],
        }),
      ),
    );
    const promise = rtnetlink.sendNow(batch);
    // Nothing was awaited: the last route is there, seen through another socket in the same turn.
    const other = Connection.open({ netns });
    t.teardown(() => other.close());
    const last = makeRoute({
      destination: `10.${(count - 1) >> 8}.${(count - 1) & 255}.1/32`,
      nextHops: [{ ifindex }],
    });
    const again = other.sendNow([requests.setRoute(last, 'create')]);
    const { sent, refused } = await promise;
    t.is((await again).refused[0]?.refusal.code, 'EEXIST');
    t.is(sent, count);
    const expected: [number, string][] = [];
    for (let thousand = 0; thousand < count; thousand += 1000)
      expected.push([thousand + 7, 'EINVAL'], [thousand + 500, 'ENODEV']);
    t.deepEqual(
      refused.map(({ index, refusal }: { index: number; refusal: Refusal }) => [index, refusal.code]),
      expected,
    );
    t.is((await rtnetlink.dumpRoutes({ family: AF.INET, table: 254 })).length, count - expected.length);
    t.deepEqual(rtnetlink.counters.malformed, {});
  });
});

test.serial('a filtered dump is filtered by the kernel: what is not asked for is never received', async (t) => {
  await inNamespace(async (netns) => {
    const rtnetlink = Rtnetlink.open({ netns });
    t.teardown(() => rtnetlink.close());
    const [many] = await vethPair(rtnetlink, 'A1', 'C1');
    const [few] = await vethPair(rtnetlink, 'A2', 'C2');
    const neighbour = (ifindex: number, destination: string) =>
      requests.setNeighbour({ family: AF.INET, ifindex, destination, linkAddress: MAC, state: NUD.PERMANENT });
    const { refused } = await rtnetlink.batch([
      ...Array.from({ length: 700 }, (_, index) => neighbour(many.ifindex, `10.1.${index >> 8}.${index & 255}`)),
      ...Array.from({ length: 5 }, (_, index) => neighbour(few.ifindex, `10.2.0.${index}`)),
      ...Array.from({ length: 300 }, (_, index) =>
        requests.setRoute(
          makeRoute({
            destination: `10.3.${index >> 8}.${index & 255}/32`,
            table: 1000,
            nextHops: [{ ifindex: many.ifindex }],
          }),
        ),
      ),
      requests.setRoute(
        makeRoute({ destination: '10.4.0.1/32', table: 1000, protocol: 201, nextHops: [{ ifindex: few.ifindex }] }),
      ),
    ]);
    t.deepEqual(refused, []);
    const received = async (dump: () => Promise<unknown[]>) => {
      const before = rtnetlink.counters.messages;
      const { length } = await dump();
      // NLMSG_DONE is a message too.
      t.is(rtnetlink.counters.messages - before, length + 1);
      return length;
    };
    t.is(await received(() => rtnetlink.dumpNeighbours({ family: AF.INET, ifindex: few.ifindex })), 5);
    t.is(await received(() => rtnetlink.dumpNeighbours({ family: AF.INET, ifindex: many.ifindex })), 700);
    t.is(await received(() => rtnetlink.dumpRoutes({ family: AF.INET, table: 1000 })), 301);
    t.is(await received(() => rtnetlink.dumpRoutes({ family: AF.INET, table: 1000, protocol: 201 })), 1);
    t.is(await received(() => rtnetlink.dumpRoutes({ family: AF.INET, table: 1000, oif: few.ifindex })), 1);
  });
});

test.serial('a dump that the table changed under is made again', async (t) => {
  await inNamespace(async (netns) => {
    const rtnetlink = Rtnetlink.open({ netns });
    const other = Rtnetlink.open({ netns });
    t.teardown(() => rtnetlink.close());
    t.teardown(() => other.close());
    const [{ ifindex }] = await vethPair(rtnetlink, 'A1', 'C1');
    const nextHop = (id: number) =>
      requests.setNextHop({ id, family: AF.INET6, protocol: 201, ifindex, gateway: 'fe80::2' });
    // More than one turn reads: four datagrams of 32 KiB.
    const count = 10_000;
    await other.batch(Array.from({ length: count }, (_, index) => nextHop(index + 1)));
    const dump = rtnetlink.dumpNextHops();
    await Promise.resolve();
    await other.batch([nextHop(count + 1)]);
    t.is((await dump).length, count + 1);
    t.true(rtnetlink.counters.repeatedDumps > 0);
  });
});

test.serial('what still waits for an answer when the connection is closed rejects', async (t) => {
  await inNamespace(async (netns) => {
    const rtnetlink = Rtnetlink.open({ netns });
    const dumps = [rtnetlink.dumpLinks(), rtnetlink.dumpAddresses()];
    await Promise.resolve();
    rtnetlink.close();
    rtnetlink.close();
    const outcomes = await Promise.allSettled([...dumps, rtnetlink.setLink({ ifindex: 1, up: true })]);
    t.deepEqual(
      outcomes.map(({ status }) => status),
      ['rejected', 'rejected', 'rejected'],
    );
    const connection = Connection.open({ netns });
    connection.close();
    await t.throwsAsync(connection.request({ type: RTM.GETLINK, flags: 0, write: () => undefined }));
  });
});
