import { execFileSync } from 'node:child_process';
import test from 'ava';
import { AF, LinuxSocket, SO, SOCK, SOL } from 'linux-sockets';
import { StandingBy } from '../../src/agent/tor/standing-by.ts';
import { Waiting } from '../../src/agent/tor/waiting.ts';
import { type Clock, systemClock } from '../../src/model/clock.ts';
import type { HostRoute } from '../../src/model/hosts.ts';
import { findShadows, type Kernel, removeShadows } from '../../src/netlink/index.ts';
import {
  address,
  announce,
  type Box,
  cable,
  eventually,
  inBoxes,
  mac,
  upAndThere,
  withdraw,
  withKernel,
} from '../netlink/helpers.ts';

/**
 * G - B0 [B] B4 - the server, and another server at B3. The server is behind another switch, so for B its way is G; and G
 * may have turned to B already.
 */
const SERVER = { v4: '10.10.10.2', v6: '2001:db8:10::2' };
const HARDWARE = '02:00:00:00:00:02';
const HOLD = 60_000;
/** A socket of IPv6 takes the port of IPv4 as well. */
const portOf = (six: boolean): number => (six ? 9_998 : 9_999);
const SHADOWS = { table: 20_101, protocol: 204 };

interface Stage {
  readonly g: Box;
  readonly b: Box;
  readonly server: Box;
  readonly kernel: Kernel;
  readonly waiting: Waiting;
  readonly standingBy: StandingBy;
  readonly shadow: (text: string) => HostRoute;
  readonly real: (text: string) => HostRoute;
  send(from: Box, to: string, count: number): void;
  /** What the server was sent, in the order in which it came. */
  readonly received: string[];
  counters(): Record<string, number>;
  /** Of the agent's time. */
  pass(ms: number): void;
}

function sysctl(box: Box, ...settings: string[]): void {
  execFileSync('ip', ['netns', 'exec', box.netns, 'sysctl', '-qw', ...settings]);
}

async function onStage(run: (stage: Stage) => Promise<void>): Promise<void> {
  await inBoxes(4, async (g, b, server, neighbour) => {
    cable(b!, 'B0', g!, 'g2');
    cable(b!, 'B4', server!, 'eth0');
    cable(b!, 'B3', neighbour!, 'eth0');
    sysctl(b!, 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1', 'net.ipv4.conf.all.rp_filter=0');
    g!.ip('addr add 192.0.2.5/30 dev g2');
    g!.ip('addr add 2001:db8:2::1/64 dev g2 nodad');
    b!.ip('addr add 192.0.2.6/30 dev B0');
    b!.ip('addr add 2001:db8:2::2/64 dev B0 nodad');
    b!.ip('route add default via 192.0.2.5');
    b!.ip('-6 route add default via 2001:db8:2::1');
    b!.ip('link set B4 address 02:00:00:00:00:fe');
    // What is sent while a neighbour is looked for is lost, and not of interest here.
    b!.ip('link set B0 address 02:00:00:00:00:b0');
    g!.ip('neigh replace 192.0.2.6 lladdr 02:00:00:00:00:b0 dev g2 nud permanent');
    g!.ip('-6 neigh replace 2001:db8:2::2 lladdr 02:00:00:00:00:b0 dev g2 nud permanent');
    g!.ip(`route add ${SERVER.v4}/32 via 192.0.2.6`);
    g!.ip(`-6 route add ${SERVER.v6}/128 via 2001:db8:2::2`);
    server!.ip(`link set eth0 address ${HARDWARE}`);
    server!.ip(`addr add ${SERVER.v4}/32 dev lo`);
    server!.ip(`addr add ${SERVER.v6}/128 dev lo nodad`);
    sysctl(server!, 'net.ipv4.conf.all.rp_filter=0', 'net.ipv4.conf.eth0.rp_filter=0');
    neighbour!.ip('addr add 10.10.10.3/24 dev eth0');
    b!.ip('addr add 10.10.10.254/24 dev B3');
    neighbour!.ip('route add default via 10.10.10.254');
    neighbour!.ip(`route add ${SERVER.v4}/32 via 10.10.10.254`);

    const received: string[] = [];
    const ears = [AF.INET, AF.INET6].map((family) => {
      const ear = LinuxSocket.open({ family, type: SOCK.DGRAM, protocol: 0, netns: server!.netns });
      ear.setOption(SOL.SOCKET, SO.RCVBUFFORCE, 4 << 20);
      const zero = family === AF.INET ? '0.0.0.0' : '::';
      ear.bind({ family: family === AF.INET ? 'ipv4' : 'ipv6', address: zero, port: portOf(family === AF.INET6) });
      ear.onReadable(() => {
        for (const { data } of ear.receiveBatch(512)) received.push(data.toString());
      });
      return ear;
    });
    let sent = 0;
    const send = (from: Box, to: string, count: number): void => {
      const six = to.includes(':');
      const socket = LinuxSocket.open({
        family: six ? AF.INET6 : AF.INET,
        type: SOCK.DGRAM,
        protocol: 0,
        netns: from.netns,
      });
      for (let index = 0; index < count; index++) {
        socket.send({
          data: Buffer.from(`${sent++}`),
          to: { family: six ? 'ipv6' : 'ipv4', address: to, port: portOf(six) },
        });
      }
      socket.close();
    };

    let passed = 0;
    const timers = new Set<{ at: number; run(): void }>();
    const clock: Clock = {
      now: () => systemClock.now() + passed,
      schedule: (at, then) => {
        const timer = {
          at,
          run: () => {
            cancel();
            then();
          },
        };
        const real = systemClock.schedule(at - passed, timer.run);
        const cancel = (): void => {
          timers.delete(timer);
          real.cancel();
        };
        timers.add(timer);
        return { cancel };
      },
    };
    const play = async (kernel: Kernel): Promise<void> => {
      await upAndThere(kernel, 'B0', 'B3', 'B4');
      let arrived = (_: ReturnType<typeof address>): void => {};
      const room = await kernel.waitingRoom((each) => arrived(each));
      const { door } = room;
      const table = kernel.shadowTable({ ...SHADOWS, door });
      const standingBy = new StandingBy({ table, room, clock, hold: HOLD });
      arrived = (each) => standingBy.arrived(each);
      await standingBy.start(['B0']);
      const installer = kernel.hostRoutes({ protocol: 201 });
      const waiting = new Waiting({ kernel: installer, room, standingBy, links: kernel, clock });
      const port = kernel.port('B4')!;
      try {
        await run({
          g: g!,
          b: b!,
          server: server!,
          kernel,
          waiting,
          standingBy,
          received,
          send,
          shadow: (text) => ({
            address: address(text),
            interface: door.interface,
            ifindex: door.ifindex,
            mac: door.mac,
            level: 0,
            shadow: true,
          }),
          real: (text) => ({
            address: address(text),
            interface: 'B4',
            ifindex: port.ifindex,
            mac: mac(HARDWARE),
            level: 0,
          }),
          pass: (ms) => {
            passed += ms;
            for (const timer of [...timers]) if (timer.at <= clock.now()) timer.run();
          },
          counters: () => ({ ...room.counters(), ...standingBy.counters() }),
        });
      } finally {
        await standingBy.leave();
        await room.close();
        for (const ear of ears) ear.close();
      }
    };
    await withKernel(b!, play, { clock });
  });
}

/** Something has come, and no more comes. */
async function settled(count: () => number): Promise<void> {
  for (let before = 0, at = Date.now(); ; ) {
    await pause(20);
    const now = count();
    if (now !== before || now === 0) at = Date.now();
    else if (Date.now() - at > 300) return;
    before = now;
  }
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const rulesOf = (box: Box): string[] =>
  ['-4', '-6'].flatMap((family) =>
    box
      .ip(`${family} rule`)
      .split('\n')
      .filter((line) => line.includes('lookup 20101') && !line.includes('fwmark')),
  );
const routesOf = (box: Box): string =>
  ['-4', '-6']
    .map((family) => {
      try {
        return box.ip(`${family} route show table 20101`);
      } catch {
        return '';
      }
    })
    .join('');

for (const [family, to] of Object.entries(SERVER)) {
  test.serial(
    `R4.5 ${family}: what the gateway sends early waits, and follows the host in order when it is heard`,
    async (t) => {
      await onStage(async ({ g, waiting, send, received, shadow, real, counters }) => {
        waiting.apply(announce(shadow(to)));
        send(g, to, 200);
        await settled(() => counters().waited!);
        const { waited } = counters();
        t.is(received.length, 0);
        waiting.apply(announce(real(to)));
        send(g, to, 100);
        await settled(() => received.length);
        const numbers = received.map(Number);
        // A busy machine may lose packets before they are at B; what was there comes in order, and all of it.
        t.deepEqual(
          numbers,
          numbers.toSorted((one, other) => one - other),
        );
        t.is(numbers.filter((number) => number < 200).length, waited!);
        t.true(waited! > 100 && numbers.length > 200, `${waited} waited, ${numbers.length} came`);
        t.like(counters(), { delivered: waited, waiting: 0, hosts: 0, waitedFor: 0 });
      });
    },
  );
}

/** Behind one port of the other switch, and of the server when it has changed over. */
const TOGETHER = Array.from({ length: 20 }, (_, index) => [`10.10.10.${101 + index}`, `2001:db8:10::${101 + index}`]);

test.serial(
  'R4.5 many hosts behind one port of the other switch: with the first that is heard all can be reached, until hold is over or the port is down',
  async (t) => {
    await onStage(
      async ({ g, b, waiting, standingBy, kernel, send, received, shadow, real, counters, pass, server }) => {
        const group = '10.255.0.1/7';
        for (const [four, six] of TOGETHER) {
          server.ip(`addr add ${four}/32 dev eth0`);
          server.ip(`addr add ${six}/128 dev eth0 nodad`);
          g.ip(`route add ${four}/32 via 192.0.2.6`);
          g.ip(`-6 route add ${six}/128 via 2001:db8:2::2`);
        }
        await eventually(() => !/tentative/.test(b.ip('-6 addr show dev B4')));
        waiting.apply(announce(...TOGETHER.flat().map((to) => ({ ...shadow(to), group }))));
        t.is(counters().groups, 1);
        const [first, second, third, fourth] = TOGETHER as [string[], string[], string[], string[]];
        for (const to of second) send(g, to, 10);
        await settled(() => counters().waited!);
        const { waited } = counters();
        t.is(received.length, 0);

        waiting.apply(announce(real(first[0]!)));
        t.is(counters().turns, 1);
        for (const to of third) send(g, to, 5);
        await settled(() => received.length);
        t.is(counters().forwarded, waited, 'what waited goes the way of the group');
        t.true(received.filter((number) => Number(number) < 20).length === waited, received.join());
        t.true(
          received.some((number) => Number(number) >= 20 && Number(number) < 25),
          'IPv4',
        );
        t.true(
          received.some((number) => Number(number) >= 25),
          'IPv6',
        );
        t.is(counters().waited, waited, 'nobody waits any more');
        t.is(counters().hosts, 2 * TOGETHER.length - 1, 'they are shadows yet');

        pass(1.1 * HOLD);
        await eventually(() => {
          send(g, fourth[0]!, 1);
          return counters().waited! > waited!;
        });

        waiting.apply(announce(real(first[1]!)));
        t.is(counters().turns, 2);
        t.regex(b.ip('nexthop show'), /id 20100000 dev B4/);
        const { ifindex } = kernel.port('B4')!;
        server.ip('link set eth0 down');
        await eventually(() => kernel.port('B4')?.carrier === false);
        standingBy.portDown(ifindex);
        const left = 2 * TOGETHER.length - 2;
        await eventually(() => routesOf(b).split('\n').length === left + 1);
        t.regex(b.ip('nexthop show'), /id 20100000 via 192\.0\.0\.8 dev plhold0/);
        const before = counters().waited!;
        await eventually(() => {
          send(g, third[0]!, 1);
          return counters().waited! > before;
        });
        waiting.apply(withdraw(...TOGETHER.slice(1).map(([, six]) => six!)));
        t.is(counters().groups, 1);
        await standingBy.leave();
        t.is(b.ip('nexthop show'), '', 'leave takes the objects along');
        t.is(routesOf(b), '');
      },
    );
  },
);

test.serial('a server of ours goes on reaching the host where it really is', async (t) => {
  await onStage(async ({ b, g, waiting, shadow, counters, send }) => {
    // As our speakers have learned it.
    b.ip(`route add ${SERVER.v4}/32 via 192.0.2.5 metric 20 proto 203`);
    waiting.apply(announce(shadow(SERVER.v4)));
    const fromFabric = b.ip(`route get ${SERVER.v4} from 192.0.2.5 iif B0`);
    t.regex(fromFabric, /dev plhold0 table 20101/);
    t.regex(b.ip(`route get ${SERVER.v4} from 10.10.10.3 iif B3`), /via 192\.0\.2\.5 dev B0/);
    t.regex(b.ip(`route get ${SERVER.v4}`), /via 192\.0\.2\.5 dev B0/, 'and so does the switch itself');
    await eventually(() => {
      send(g, SERVER.v4, 1);
      return counters().waited! >= 1;
    });
    t.pass();
  });
});

test.serial(
  'a host that does not come: its packets are dropped after hold, each by its own age, and counted',
  async (t) => {
    await onStage(async ({ g, waiting, send, received, shadow, counters, pass }) => {
      waiting.apply(announce(shadow(SERVER.v4)));
      send(g, SERVER.v4, 10);
      await settled(() => counters().waited!);
      const first = counters().waited!;
      pass(0.6 * HOLD);
      send(g, SERVER.v4, 5);
      await eventually(() => counters().waited! > first);
      await settled(() => counters().waited!);
      const all = counters().waited!;
      pass(0.5 * HOLD);
      await eventually(() => counters().expired === first);
      pass(0.6 * HOLD);
      await eventually(() => counters().expired === all);
      t.like(counters(), { waiting: 0, waitedFor: 0, delivered: 0, hosts: 1 });
      send(g, SERVER.v4, 3);
      await eventually(() => counters().waited! > all);
      await settled(() => counters().waited!);
      const { waited } = counters();
      waiting.apply(withdraw(SERVER.v4));
      t.like(counters(), { waiting: 0, expired: waited, hosts: 0 });
      t.is(received.length, 0);
    });
  },
);

test.serial(
  'a flood for somebody who is not there: little of it waits, the kernel drops the rest, and that ends',
  async (t) => {
    await onStage(async ({ b, g, waiting, send, shadow, counters, pass }) => {
      waiting.apply(announce(shadow(SERVER.v4)));
      while (counters().shed === 0) {
        send(g, SERVER.v4, 400);
        await pause(5);
      }
      t.regex(routesOf(b), /blackhole 10\.10\.10\.2/);
      t.is(counters().waited, 4_096);
      await settled(() => counters().overflowed!);
      const { overflowed } = counters();
      send(g, SERVER.v4, 1_000);
      await pause(100);
      t.is(counters().overflowed, overflowed, 'we do not even see them');
      pass(1.1 * HOLD);
      await eventually(() => counters().waitedFor === 0);
      t.like(counters(), { waiting: 0, expired: 4_096 });
      t.notRegex(routesOf(b), /blackhole/);
      send(g, SERVER.v4, 2);
      await eventually(() => counters().waiting! > 0);
      t.pass();
    });
  },
);

test.serial('a host that is there after a flood gets what waited, and all that comes then', async (t) => {
  await onStage(async ({ g, waiting, send, received, shadow, real, counters }) => {
    waiting.apply(announce(shadow(SERVER.v4)));
    while (counters().shed === 0) {
      send(g, SERVER.v4, 400);
      await pause(5);
    }
    waiting.apply(announce(real(SERVER.v4)));
    await settled(() => received.length);
    t.true(received.length > 1_000);
    const before = received.length;
    send(g, SERVER.v4, 50);
    await eventually(() => received.length > before);
    t.is(counters().delivered, 4_096);
    t.is(counters().hosts, 0);
  });
});

test.serial(
  'rules follow the uplinks; the next life takes over what it finds, and leave takes all of it away',
  async (t) => {
    await onStage(async ({ b, kernel, waiting, standingBy, shadow }) => {
      waiting.apply(announce(shadow(SERVER.v4), shadow(SERVER.v6)));
      t.is(rulesOf(b).length, 2);
      standingBy.configure(['B0', 'B9']);
      await eventually(() => rulesOf(b).length === 4);
      standingBy.configure(['B9']);
      await eventually(() => rulesOf(b).length === 2);
      t.true(rulesOf(b).every((rule) => rule.includes('iif B9')));
      await eventually(() => routesOf(b).split('\n').length === 3);

      // Another life: with the door, the routes of the last one have gone or are not wanted.
      standingBy.close();
      const next = kernel.shadowTable({ ...SHADOWS, door: { interface: 'lo', ifindex: 1, mac: mac(HARDWARE) } });
      await next.start(['B9']);
      t.is(rulesOf(b).length, 2);
      t.is(routesOf(b), '');
      await next.leave();
      t.deepEqual(rulesOf(b), []);
    });
  },
);

test.serial("cleanup finds rules and routes of a life that nobody follows, and nobody else's", async (t) => {
  await onStage(async ({ b, kernel, waiting, shadow }) => {
    b.ip('rule add iif B3 lookup 20101 priority 30000');
    b.ip('route add 10.10.10.77/32 dev B3 table 20101');
    waiting.apply(announce(shadow(SERVER.v4), shadow(SERVER.v6)));
    const found = await findShadows(kernel.rtnetlink, SHADOWS.protocol);
    t.deepEqual([found.rules.length, found.routes.length, found.objects], [4, 2, []]);
    await removeShadows(kernel.rtnetlink, found);
    t.deepEqual((await findShadows(kernel.rtnetlink, SHADOWS.protocol)).routes, []);
    t.is(rulesOf(b).length, 1);
    t.regex(routesOf(b), /^10\.10\.10\.77 dev B3/);
  });
});
