/**
 * First packets to tunnels whose remote hosts nobody knows yet, with ARP that takes 200 ms: bursts of 200 packets of 1,200
 * octets to each. The kernel alone keeps some and drops the rest; without that, these tests would prove nothing.
 */
import test, { type ExecutionContext } from 'ava';
import { OvsSwitch } from '../../lab/tunnels/ovs-switch.ts';
import { eventually, pause, Rack, remoteAddress } from '../../lab/tunnels/rack.ts';
import type { Mac } from '../../src/model/address.ts';
import { systemClock } from '../../src/model/clock.ts';
import type { Log } from '../../src/model/log.ts';
import { TunnelNeighbours } from '../../src/vswitch-bridge/neighbours/index.ts';

const REMOTES = 20;
const PACKETS = 200;
const SLOW = 200;
const HOLD = { enabled: true, lifetime: 2_000, perNeighbour: 256, total: 8_192 };

const logOf = (t: ExecutionContext): Log => ({
  debug: () => undefined,
  info: () => undefined,
  warn: (fields, message) => t.log(message, fields),
  error: (fields, message) => t.log(message, fields),
});

async function withRack(t: ExecutionContext, count: number, run: (rack: Rack) => Promise<void>): Promise<void> {
  t.timeout(180_000);
  const rack = await Rack.open(count);
  try {
    await run(rack);
  } finally {
    await rack.close();
  }
}

async function withAgent(
  t: ExecutionContext,
  rack: Rack,
  which: { proactive: boolean; hold: boolean; lifetime?: number },
  run: (neighbours: TunnelNeighbours) => Promise<void>,
  ovs?: string,
): Promise<void> {
  const neighbours = await TunnelNeighbours.open({
    netns: rack.near,
    clock: systemClock,
    log: logOf(t),
    source: '10.20.1.1' as never,
    proactive: which.proactive,
    poll: 5_000,
    hold: { ...HOLD, enabled: which.hold, lifetime: which.lifetime ?? HOLD.lifetime },
    ...(ovs === undefined ? {} : { ovs: { socket: ovs } }),
  });
  try {
    await run(neighbours);
  } finally {
    await neighbours.close();
  }
}

/** Long enough for a busy machine; then what is missing is told. */
async function arrival(rack: Rack, count = REMOTES * PACKETS): Promise<void> {
  for (let waited = 0; waited < 15_000 && rack.arrivals.length < count; waited += 20) await pause(20);
}

test.serial('R2.3 without the agent the kernel loses first packets', async (t) => {
  await withRack(t, REMOTES, async (rack) => {
    rack.arpDelay = SLOW;
    rack.addTunnels();
    rack.burst(PACKETS);
    await pause(SLOW + 1_500);
    const { lost } = rack.outcome();
    t.log(`${lost} of ${REMOTES * PACKETS} lost`);
    t.true(lost > REMOTES * 10);
  });
});

test.serial('R2.1 R2.5 mechanism 1 alone: known before the first packet, none is lost', async (t) => {
  await withRack(t, REMOTES, async (rack) => {
    rack.arpDelay = SLOW;
    await withAgent(t, rack, { proactive: true, hold: false }, async (neighbours) => {
      rack.addTunnels();
      await eventually(() => neighbours.view().filter(({ state }) => state === 'reachable').length === REMOTES);
      rack.burst(PACKETS);
      await arrival(rack);
      t.deepEqual(rack.outcome(), { lost: 0, inOrder: true });
      t.is(neighbours.counters().hold, undefined);
    });
  });
});

for (const bridge of [false, true]) {
  const where = bridge ? 'a vxlan port of a bridge' : 'a routed vxlan device';
  test.serial(
    `R2.3 R2.5 mechanism 2 alone, ${where}: none is lost, the order is kept, the counters are right`,
    async (t) => {
      await withRack(t, REMOTES, async (rack) => {
        rack.arpDelay = SLOW;
        rack.addTunnels({ bridge });
        await withAgent(t, rack, { proactive: false, hold: true }, async (neighbours) => {
          t.is(rack.questions.length, 0);
          rack.burst(PACKETS);
          await arrival(rack);
          t.deepEqual(rack.outcome(), { lost: 0, inOrder: true });
          const hold = neighbours.counters().hold!;
          t.like(hold, { expired: 0, refused: 0, lost: 0, waiting: 0, waitingBytes: 0 });
          t.is(hold.held, REMOTES * PACKETS);
          t.is(hold.sent, rack.arrivals.length);
          // Known by now: hits are never buffered.
          await pause(100);
          rack.burst(PACKETS);
          await arrival(rack, 2 * REMOTES * PACKETS);
          t.deepEqual(rack.outcome(), { lost: 0, inOrder: true });
          t.is(neighbours.counters().hold!.held, hold.held);
        });
      });
    },
  );
}

test.serial('R2.3 R2.5 both mechanisms: tunnels and packets at the same moment', async (t) => {
  await withRack(t, REMOTES, async (rack) => {
    rack.arpDelay = SLOW;
    await withAgent(t, rack, { proactive: true, hold: true }, async (neighbours) => {
      rack.addTunnels();
      await eventually(() => neighbours.view().length === REMOTES);
      rack.forgetNeighbours();
      rack.burst(PACKETS);
      await arrival(rack);
      t.deepEqual(rack.outcome(), { lost: 0, inOrder: true });
      t.like(neighbours.counters().hold, { expired: 0, refused: 0, lost: 0, waiting: 0 });
    });
  });
});

test.serial('R2.3 a flow that goes on while its first packets wait: none lost, none overtaken', async (t) => {
  await withRack(t, 4, async (rack) => {
    rack.arpDelay = SLOW;
    rack.addTunnels();
    await withAgent(t, rack, { proactive: false, hold: true }, async (neighbours) => {
      for (let round = 0; round < 200; round++) {
        rack.burst(1);
        await pause(2);
      }
      await arrival(rack, 800);
      t.deepEqual(rack.outcome(), { lost: 0, inOrder: true });
      const { held, sent } = neighbours.counters().hold!;
      t.is(held, sent);
      t.true(held! > 0 && held! < 800);
    });
  });
});

test.serial(
  'R2.4 remotes that never answer: memory is bounded, every packet is counted, and the next one is served',
  async (t) => {
    await withRack(t, 5, async (rack) => {
      rack.arpDelay = undefined;
      rack.addTunnels();
      await withAgent(t, rack, { proactive: false, hold: true, lifetime: 1_000 }, async (neighbours) => {
        rack.burst(400);
        let most = 0;
        // On a busy machine the first have expired, and made room, before the last have come.
        await eventually(() => {
          const { held = 0, refused = 0, waiting = 0 } = neighbours.counters().hold!;
          most = Math.max(most, waiting);
          return held + refused === 5 * 400 && waiting === 0;
        });
        const { held = 0, expired, sent, lost, waitingBytes } = neighbours.counters().hold!;
        t.true(most <= 5 * 256, `${most} waited at once`);
        t.true(held >= 5 * 256, `${held} were held`);
        t.deepEqual([expired, sent, lost, waitingBytes], [held, 0, 0, 0]);
        t.is(rack.arrivals.length, 0);
        rack.arpDelay = SLOW;
        rack.burst(10);
        await arrival(rack, 50);
        t.is(neighbours.counters().hold!.sent, 50);
        t.true(neighbours.view().every(({ held }) => held === 0));
        t.deepEqual([...new Set(rack.arrivals.map(({ to }) => to))].sort(), [0, 1, 2, 3, 4].map(remoteAddress));
      });
    });
  },
);

/** Open vSwitch in user space; a sender that lets the switch breathe, or its own queues would lose what nobody held. */
const OVS_REMOTES = 10;
/** While it makes ports and flows the switch drops packets of its own accord. ms */
const BREATH = 300;

async function withOvs(t: ExecutionContext, run: (rack: Rack, ovs: OvsSwitch) => Promise<void>): Promise<void> {
  await withRack(t, OVS_REMOTES, async (rack) => {
    rack.arpDelay = SLOW;
    const ovs = await OvsSwitch.start(rack.near);
    try {
      await run(rack, ovs);
    } finally {
      await ovs.stop();
    }
  });
}

/** All within the time in which nobody has answered yet. */
async function pacedBurst(rack: Rack): Promise<void> {
  for (let round = 0; round < PACKETS; round++) {
    rack.burst(1);
    if (round % 4 === 3) await pause(1);
  }
}

test.serial('R2.3 R2.6 Open vSwitch without the agent drops what misses', async (t) => {
  await withOvs(t, async (rack, ovs) => {
    await rack.addOvsTunnels(ovs);
    await ovs.appctl('tnl/neigh/flush');
    await pacedBurst(rack);
    await pause(SLOW + 1_000);
    const { lost } = rack.outcome();
    t.log(`${lost} of ${OVS_REMOTES * PACKETS} lost`);
    t.true(lost > OVS_REMOTES * 10);
    // It is the first packets that it loses, not all.
    const before = rack.arrivals.length;
    rack.burst(1);
    await arrival(rack, before + 1);
    t.true(rack.arrivals.length > before);
  });
});

for (const [proactive, hold, which] of [
  [true, false, 'mechanism 1 alone'],
  [false, true, 'mechanism 2 alone'],
  [true, true, 'both mechanisms'],
] as const) {
  test.serial(
    `R2.5 R2.6 Open vSwitch in user space, ${which}: no first packet is lost, the order is kept`,
    async (t) => {
      await withOvs(t, async (rack, ovs) => {
        await withAgent(
          t,
          rack,
          { proactive, hold },
          async (neighbours) => {
            await rack.addOvsTunnels(ovs);
            const settled = () =>
              neighbours.counters().ovs![proactive ? 'written' : 'placeholders']! >= OVS_REMOTES &&
              neighbours.view().length === OVS_REMOTES;
            await eventually(settled);
            await pause(BREATH);
            if (!proactive) t.is(rack.questions.length, 0);
            const begun = performance.now();
            await pacedBurst(rack);
            const answered = performance.now() - begun >= SLOW;
            await arrival(rack, OVS_REMOTES * PACKETS);
            t.deepEqual(rack.outcome(), { lost: 0, inOrder: true });
            const held = neighbours.counters().ovsHold;
            if (hold) t.is(held!.held, held!.sent);
            if (!proactive && !answered) t.is(held!.held, rack.arrivals.length);
            // On a busy machine the last are sent when somebody has answered, and need not wait.
            if (!proactive && answered) t.true(held!.held! > 0 && held!.held! <= rack.arrivals.length);
            if (!hold) t.is(held, undefined);
            // The switch's table has what the agent's has, the kernel's too.
            const table = await ovs.appctl('tnl/neigh/show');
            for (let index = 0; index < OVS_REMOTES; index++) {
              t.regex(table, new RegExp(`${remoteAddress(index).replaceAll('.', '\\.')} +${rack.mac} +phy`));
            }
            t.is(rack.ip('neigh show dev phy').match(new RegExp(rack.mac, 'g'))?.length, OVS_REMOTES);
            t.notRegex(rack.ip('neigh show dev phy'), /PERMANENT/);
          },
          ovs.socket,
        );
        // What it put into the switch goes with it.
        t.notRegex(await ovs.flows('phy'), /0x504c4e48/);
        t.notRegex(await ovs.vsctl('list-ports', 'phy'), /plnh/);
      });
    },
  );
}

test.serial('R2.4 R2.6 Open vSwitch, remotes that never answer: bounded, and every packet is counted', async (t) => {
  await withOvs(t, async (rack, ovs) => {
    rack.arpDelay = undefined;
    await withAgent(
      t,
      rack,
      { proactive: false, hold: true, lifetime: 500 },
      async (neighbours) => {
        await rack.addOvsTunnels(ovs);
        await eventually(() => neighbours.counters().ovs!.placeholders! >= OVS_REMOTES);
        await pause(BREATH);
        await pacedBurst(rack);
        await pacedBurst(rack);
        await pause(BREATH);
        const counters = () => neighbours.counters().ovsHold!;
        const accounted = () => counters().held! + counters().refused!;
        await eventually(() => accounted() > 1.9 * OVS_REMOTES * PACKETS && counters().waiting === 0);
        // What the switch has sent to placeholders is what we account for. Its own count lags behind by a second.
        const given = async () => Number(/n_packets=(\d+)[^\n]*dl_dst=0e:51:4c/.exec(await ovs.flows('phy'))![1]);
        for (let waited = 0; waited < 10_000 && (await given()) !== accounted(); waited += 100) await pause(100);
        t.is(accounted(), await given());
        const { held, expired, sent } = neighbours.counters().ovsHold!;
        t.is(sent, 0);
        t.is(held, expired);
        t.is(rack.arrivals.length, 0);
      },
      ovs.socket,
    );
  });
});

for (const hold of [true, false]) {
  const how = hold ? 'packets wait meanwhile' : 'without holding the switch asks anew';
  test.serial(`R2.2 R2.6 Open vSwitch, the underlay moves: no stale header after the event, ${how}`, async (t) => {
    await withOvs(t, async (rack, ovs) => {
      rack.arpDelay = 0;
      await withAgent(
        t,
        rack,
        { proactive: true, hold },
        async (neighbours) => {
          await rack.addOvsTunnels(ovs);
          await eventually(() => neighbours.counters().ovs!.written! >= OVS_REMOTES);
          await pause(BREATH);
          rack.burst(1);
          await arrival(rack, OVS_REMOTES);
          const before = rack.mac;
          const moved = '02:00:00:00:0a:0b' as Mac;
          rack.arpDelay = 100;
          rack.changeMac(moved, false);
          // Of a switch's port that changes we hear from the kernel; here nothing of ours has changed but who is there.
          neighbours.underlayChanged(neighbours.view()[0]!.ifindex);
          t.true(neighbours.view().every(({ mac }) => mac === undefined));
          // The switch has done what it was told in this turn when it answers the next one.
          const table = await ovs.appctl('tnl/neigh/show');
          t.notRegex(table, new RegExp(before));
          if (!hold) await eventually(() => neighbours.view().every(({ state }) => state === 'reachable'));
          rack.burst(20);
          await arrival(rack, 21 * OVS_REMOTES);
          t.true(rack.arrivals.slice(OVS_REMOTES).every(({ destinationMac }) => destinationMac === moved));
          if (hold) t.deepEqual(rack.outcome(), { lost: 0, inOrder: true });
        },
        ovs.socket,
      );
    });
  });
}
