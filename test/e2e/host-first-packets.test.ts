/**
 * First packets to tunnels whose remote hosts nobody knows yet, with ARP that takes 200 ms: bursts of 200 packets of 1,200
 * octets to each. The kernel alone keeps some and drops the rest; without that, these tests would prove nothing.
 */
import test, { type ExecutionContext } from 'ava';
import { systemClock } from '../../src/model/clock.ts';
import type { Log } from '../../src/model/log.ts';
import { TunnelNeighbours } from '../../src/vswitch-bridge/neighbours/index.ts';
import { eventually, pause, Rack, remoteAddress } from '../vswitch/neighbours/rack.ts';

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
  t.timeout(60_000);
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
): Promise<void> {
  const neighbours = await TunnelNeighbours.open({
    netns: rack.near,
    clock: systemClock,
    log: logOf(t),
    source: '10.20.1.1' as never,
    proactive: which.proactive,
    poll: 5_000,
    hold: { ...HOLD, enabled: which.hold, lifetime: which.lifetime ?? HOLD.lifetime },
  });
  try {
    await run(neighbours);
  } finally {
    await neighbours.close();
  }
}

const arrived = (rack: Rack) => () => rack.arrivals.length >= REMOTES * PACKETS;

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
      await eventually(arrived(rack));
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
          await eventually(arrived(rack));
          t.deepEqual(rack.outcome(), { lost: 0, inOrder: true });
          const hold = neighbours.counters().hold!;
          t.like(hold, { expired: 0, refused: 0, lost: 0, waiting: 0, waitingBytes: 0 });
          t.is(hold.held, REMOTES * PACKETS);
          t.is(hold.sent, rack.arrivals.length);
          // Known by now: hits are never buffered.
          await pause(100);
          rack.burst(PACKETS);
          await eventually(() => rack.arrivals.length >= 2 * REMOTES * PACKETS);
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
      await eventually(arrived(rack));
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
      await eventually(() => rack.arrivals.length >= 800);
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
        await eventually(() => neighbours.counters().hold!.waiting === 5 * 256);
        await eventually(() => neighbours.counters().hold!.waiting === 0);
        t.like(neighbours.counters().hold, {
          held: 5 * 256,
          expired: 5 * 256,
          refused: 5 * 144,
          sent: 0,
          lost: 0,
          waitingBytes: 0,
        });
        t.is(rack.arrivals.length, 0);
        rack.arpDelay = SLOW;
        rack.burst(10);
        await eventually(() => rack.arrivals.length === 50);
        t.is(neighbours.counters().hold!.sent, 50);
        t.true(neighbours.view().every(({ held }) => held === 0));
        t.deepEqual([...new Set(rack.arrivals.map(({ to }) => to))].sort(), [0, 1, 2, 3, 4].map(remoteAddress));
      });
    });
  },
);
