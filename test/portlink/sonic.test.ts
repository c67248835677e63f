import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import test from 'ava';
import { systemClock } from '../../src/model/clock.ts';
import { isUp, type PortChange } from '../../src/model/ports.ts';
import { isSonic, openSonicPorts, type SonicPorts } from '../../src/portlink/drivers/index.ts';
import { PortLinkDriver, type PortLinkEffect, PortLinkGroups } from '../../src/portlink/index.ts';
import { eventually, inBoxes } from '../netlink/helpers.ts';
import {
  APPL,
  CONFIG,
  connect,
  Daemons,
  LAG,
  loadConfiguration,
  makeSonicBox,
  PORTS,
  peer,
  RedisServer,
  type SonicBox,
} from './support/sonic-box.ts';
import { group } from './support.ts';

const UPLINK = 'Ethernet0';
const DOWNLINKS = ['Ethernet4', 'Ethernet8', LAG];
/** The front panel ports behind the downlinks. */
const PANEL = ['Ethernet4', 'Ethernet8', 'Ethernet16', 'Ethernet20'];
const quiet = { debug() {}, info() {}, warn() {}, error() {} };

async function inSonicBox(run: (box: SonicBox) => Promise<void>): Promise<void> {
  const redis = new RedisServer();
  try {
    await inBoxes(2, async (tor, server) => {
      const box = await makeSonicBox(tor, server, redis);
      try {
        await run(box);
      } finally {
        await box.daemons.stop();
        box.kernel.close();
      }
    });
  } finally {
    await redis.dispose();
  }
}

async function withPorts(
  box: SonicBox,
  run: (ports: SonicPorts, changes: PortChange[]) => Promise<void>,
  patience?: number,
): Promise<void> {
  const { kernel, redis } = box;
  const options = { beneath: kernel, clock: systemClock, log: quiet, redis: redis.socket };
  const ports = await openSonicPorts(patience === undefined ? options : { ...options, patience });
  const changes: PortChange[] = [];
  ports.onChange((change) => changes.push(change));
  try {
    await eventually(() => [...PORTS, LAG].every((name) => isUp(ports.port(name))));
    changes.length = 0;
    await run(ports, changes);
  } finally {
    ports.close();
  }
}

/** Groups on the box, as the agent binds them. */
function withGroups(ports: SonicPorts, stateFile: string) {
  const effects: PortLinkEffect[] = [];
  const config = group({ uplinks: [UPLINK], downlinks: DOWNLINKS, startupDelay: 0, recoveryDelay: 100 });
  const driver = new PortLinkDriver({
    groups: new PortLinkGroups([config], systemClock.now()),
    ports,
    links: ports,
    clock: systemClock,
    log: quiet,
    stateFile,
    onEffect: (effect) => effects.push(effect),
  });
  ports.onChange((change) => driver.portChanged(change));
  ports.onBlind((blind, reason) => driver.handle({ type: 'blind', blind, reason }));
  driver.start([{ type: 'upstream', ready: true, reason: '' }]);
  const state = () => driver.groups.view('fabric')!.state;
  const said = (type: PortLinkEffect['type']) => effects.filter((effect) => effect.type === type);
  return { driver, effects, state, said };
}

const carrierOf = (box: SonicBox, port: string): boolean =>
  box.server.ip(`link show ${peer(port)}`).includes('LOWER_UP');
const carriers = (box: SonicBox): string[] => PANEL.filter((port) => carrierOf(box, port));
const stateFileOf = (box: SonicBox): string => path.join(box.redis.folder, 'ports.json');
const remembered = (file: string): string[] =>
  (JSON.parse(readFileSync(file, 'utf8')) as { ports: { port: string }[] }).ports.map(({ port }) => port);

test.serial('R4.4 ports are told as APPL_DB, CONFIG_DB and the kernel say, by name and alias', async (t) => {
  await inSonicBox(async (box) => {
    await withPorts(box, async (ports) => {
      const { tor, redis } = box;
      t.like(ports.port('Ethernet4'), {
        name: 'Ethernet4',
        alias: 'fortyGigE0/4',
        adminUp: true,
        carrier: true,
        kind: 'veth',
      });
      t.is(ports.port('fortyGigE0/8')?.name, 'Ethernet8');
      t.is(ports.nameOf('fortyGigE0/12'), 'Ethernet12');
      t.like(ports.port(LAG), { name: LAG, adminUp: true, carrier: true, ifindex: 0 });
      t.deepEqual([...ports.ports()].map(({ name }) => name).sort(), ['lo', LAG, ...PORTS].sort());
      t.is(ports.portByIndex(ports.port('Ethernet4')!.ifindex)?.alias, 'fortyGigE0/4');

      box.server.ip(`link set ${peer('Ethernet4')} down`);
      await eventually(() => redis.cli(APPL, 'HGET', 'PORT_TABLE:Ethernet4', 'oper_status') === 'down');
      await eventually(() => ports.port('Ethernet4')?.carrier === false);
      t.true(ports.port('Ethernet4')!.adminUp);
      // One member is left: the port channel stays.
      box.server.ip(`link set ${peer('Ethernet16')} down`);
      await eventually(() => ports.port('Ethernet16')?.carrier === false);
      t.true(isUp(ports.port(LAG)));
      box.server.ip(`link set ${peer('Ethernet20')} down`);
      await eventually(() => ports.port(LAG)?.carrier === false);

      redis.cli(CONFIG, 'HSET', 'PORT|Ethernet8', 'admin_status', 'down');
      await eventually(() => ports.port('Ethernet8')?.adminUp === false);
      await eventually(() => !/<[^>]*\bUP\b/.test(tor.ip('link show Ethernet8')));
      // What SONiC does not know is the kernel's.
      tor.ip('link add Vlan1000 type bridge');
      await eventually(() => ports.port('Vlan1000')?.kind === 'bridge');
    });
  });
});

test.serial("a port's neighbour is what SONiC's lldp container has written", async (t) => {
  await inSonicBox(async (box) => {
    await withPorts(box, async (ports) => {
      const { redis } = box;
      const row = ['lldp_rem_sys_name', 'spine-1', 'lldp_rem_port_id', 'Ethernet4', 'lldp_rem_port_desc', 'to leaf'];
      redis.cli(0, 'HSET', `LLDP_ENTRY_TABLE:${UPLINK}`, ...row, 'lldp_rem_chassis_id', '02:00:00:00:00:aa');
      redis.cli(0, 'HSET', 'LLDP_ENTRY_TABLE:eth0', ...row);
      redis.cli(0, 'HSET', 'LLDP_ENTRY_TABLE:Ethernet4', 'lldp_rem_sys_name', 'half a row');
      const neighbour = { systemName: 'spine-1', portId: 'Ethernet4', portDescription: 'to leaf' };
      t.deepEqual([...(await ports.lldp())!], [[UPLINK, [{ ...neighbour, chassisId: '02:00:00:00:00:aa' }]]]);
    });
  });
});

test.serial('R4.6 uplink oper down: the downlinks are shut through Redis in one transaction, and reopen', async (t) => {
  await inSonicBox(async (box) => {
    await withPorts(box, async (ports) => {
      const { driver, state, said } = withGroups(ports, stateFileOf(box));
      await eventually(() => state() === 'up');
      const monitor = spawn('redis-cli', ['-s', box.redis.socket, 'monitor']);
      let wire = '';
      monitor.stdout.on('data', (chunk: Buffer) => {
        wire += chunk.toString();
      });
      await eventually(() => wire.includes('OK'));
      box.server.ip(`link set ${peer(UPLINK)} down`);
      await eventually(() => carriers(box).length === 0);
      await driver.settled();
      t.is(state(), 'shut');
      t.deepEqual(
        said('shut').map((effect) => 'ports' in effect && effect.ports),
        [DOWNLINKS],
      );
      t.is(ports.counters.demands, 1);
      await eventually(() => wire.includes('"PUBLISH" "PORT_TABLE_CHANNEL@0"'));
      monitor.kill();
      const asked = wire.slice(wire.indexOf('"MULTI"'), wire.indexOf('"EXEC"'));
      for (const port of PANEL) t.true(asked.includes(`"HSET" "_PORT_TABLE:${port}" "admin_status" "down"`), asked);
      for (const port of PANEL) {
        t.is(box.redis.cli(APPL, 'HGET', `PORT_TABLE:${port}`, 'admin_status'), 'down');
        t.is(box.redis.cli(CONFIG, 'HGET', `PORT|${port}`, 'admin_status'), 'up', 'what config save would save');
      }
      t.true(carrierOf(box, 'Ethernet12'), 'no downlink of the group');

      box.server.ip(`link set ${peer(UPLINK)} up`);
      await eventually(() => carriers(box).length === PANEL.length);
      await eventually(() => state() === 'up');
      await driver.settled();
      t.deepEqual(remembered(stateFileOf(box)), []);
      t.deepEqual(said('alarm'), []);
      await driver.stop();
    });
  });
});

test.serial(
  'a port that the operator shuts while we have it shut is left to him; one he opens counts as opened by him',
  async (t) => {
    await inSonicBox(async (box) => {
      await withPorts(box, async (ports) => {
        const { driver, state, said } = withGroups(ports, stateFileOf(box));
        await eventually(() => state() === 'up');
        box.server.ip(`link set ${peer(UPLINK)} down`);
        await eventually(() => carriers(box).length === 0);
        await driver.settled();
        box.redis.cli(CONFIG, 'HSET', 'PORT|Ethernet4', 'admin_status', 'down');
        // `config interface startup`: the value is up already, portmgrd acts on the write.
        await new Promise((resolve) => setTimeout(resolve, 600));
        box.redis.cli(CONFIG, 'HSET', 'PORT|Ethernet8', 'admin_status', 'up');
        await eventually(() => carrierOf(box, 'Ethernet8'));
        await eventually(() => said('alarm').length === 1);
        t.regex((said('alarm')[0] as { reason: string }).reason, /Ethernet8 was opened by somebody else/);
        box.server.ip(`link set ${peer(UPLINK)} up`);
        await eventually(() => carrierOf(box, 'Ethernet16') && carrierOf(box, 'Ethernet20'));
        await eventually(() => state() === 'up');
        await driver.settled();
        t.false(carrierOf(box, 'Ethernet4'));
        t.is(box.redis.cli(APPL, 'HGET', 'PORT_TABLE:Ethernet4', 'admin_status'), 'down');
        await driver.stop();
      });
    });
  },
);

test.serial(
  'R4.7 Redis killed: groups freeze and touch nothing; back with its data: the difference is told, then acted upon',
  async (t) => {
    await inSonicBox(async (box) => {
      await withPorts(box, async (ports) => {
        const { driver, state, said } = withGroups(ports, stateFileOf(box));
        await eventually(() => state() === 'up');
        await box.redis.kill();
        await eventually(() => ports.blind !== undefined);
        t.regex(ports.blind!, /Redis is gone/);
        t.regex((said('alarm')[0] as { reason: string }).reason, /^frozen: Redis is gone/);
        t.regex(driver.groups.view('fabric')!.reason, /^frozen/);
        box.server.ip(`link set ${peer(UPLINK)} down`);
        await eventually(() => ports.port(UPLINK)?.carrier === false);
        await new Promise((resolve) => setTimeout(resolve, 300));
        t.deepEqual(said('shut'), []);
        t.is(carriers(box).length, PANEL.length);
        await t.throwsAsync(ports.setAdmin(['Ethernet4'], false), { message: /^Ethernet4: Redis is gone/ });

        await box.daemons.stop();
        await box.redis.start();
        // The rows have outlived the kill; the uplink's oper state in them is older than the truth.
        const daemons = new Daemons(box.redis.socket, box.tor, box.kernel);
        await eventually(() => ports.blind === undefined);
        await daemons.start();
        await eventually(() => carriers(box).length === 0);
        await eventually(() => state() === 'shut');
        t.true(ports.counters.sessions >= 2);

        box.server.ip(`link set ${peer(UPLINK)} up`);
        await eventually(() => carriers(box).length === PANEL.length);
        await eventually(() => state() === 'up');
        await driver.stop();
        await daemons.stop();
      });
    });
  },
);

test.serial('SONiC restarted while ports are shut: it opens them, and the group shuts them anew', async (t) => {
  await inSonicBox(async (box) => {
    await withPorts(box, async (ports) => {
      const { driver, state } = withGroups(ports, stateFileOf(box));
      await eventually(() => state() === 'up');
      box.server.ip(`link set ${peer(UPLINK)} down`);
      await eventually(() => carriers(box).length === 0);
      await driver.settled();
      await box.daemons.stop();
      await box.redis.kill();
      box.redis.forget();
      await box.redis.start('');
      await eventually(() => ports.blind === 'SONiC is making its ports');
      await loadConfiguration(box.redis.socket);
      const daemons = new Daemons(box.redis.socket, box.tor, box.kernel);
      await daemons.start();
      await eventually(() => ports.blind === undefined && state() === 'shut');
      await eventually(() => carriers(box).length === 0);
      await driver.settled();
      t.deepEqual(remembered(stateFileOf(box)).sort(), [...DOWNLINKS].sort());
      t.regex(box.redis.cli(0, 'CONFIG', 'GET', 'notify-keyspace-events'), /K/, 'switched on, it was off');

      // portmgrd alone restarts and applies CONFIG_DB: no operator has written anything.
      const appl = await connect(box.redis.socket, APPL);
      await appl
        .multi()
        .sAdd('PORT_TABLE_KEY_SET', 'Ethernet4')
        .hSet('_PORT_TABLE:Ethernet4', 'admin_status', 'up')
        .publish('PORT_TABLE_CHANNEL@0', 'G')
        .exec();
      appl.destroy();
      const before = ports.counters.demands;
      await eventually(() => ports.counters.demands > before);
      await eventually(() => carriers(box).length === 0);

      box.server.ip(`link set ${peer(UPLINK)} up`);
      await eventually(() => carriers(box).length === PANEL.length);
      await driver.stop();
      await daemons.stop();
    });
  });
});

test.serial('a demand that orchagent does not take up fails by name and is taken back', async (t) => {
  await inSonicBox(async (box) => {
    await withPorts(
      box,
      async (ports) => {
        box.daemons.pause(true);
        await t.throwsAsync(ports.setAdmin(['Ethernet4', LAG], false), {
          instanceOf: AggregateError,
          message: /Ethernet4: SONiC has not shut it in time; Ethernet16: .*; Ethernet20: /,
        });
        box.daemons.pause(false);
        await eventually(() => box.redis.cli(APPL, 'SCARD', 'PORT_TABLE_KEY_SET') === '0');
        t.deepEqual(carriers(box), PANEL);
      },
      500,
    );
    await withPorts(box, async (ports) => {
      await ports.setAdmin([LAG], false);
      await eventually(() => carriers(box).join() === 'Ethernet4,Ethernet8');
      await ports.setAdmin([LAG], true);
      await eventually(() => carriers(box).length === PANEL.length);
    });
  });
});

test.serial('a demand that SONiC finds when it has made its ports anew shuts none: it was taken back', async (t) => {
  await inSonicBox(async (box) => {
    await withPorts(box, async (ports) => {
      const { daemons, redis } = box;
      daemons.pause(true);
      redis.cli(APPL, 'HDEL', 'PORT_TABLE:Ethernet4', 'admin_status');
      await t.throwsAsync(ports.setAdmin(['Ethernet4'], false), { message: /SONiC has no such port any more/ });
      await eventually(() => redis.cli(APPL, 'HGET', '_PORT_TABLE:Ethernet4', 'admin_status') === 'up');
      // One that was on its way all the same.
      redis.cli(APPL, 'HSET', '_PORT_TABLE:Ethernet4', 'admin_status', 'down');
      redis.cli(APPL, 'HSET', 'PORT_TABLE:Ethernet4', 'admin_status', 'up');
      await eventually(() => redis.cli(APPL, 'HGET', '_PORT_TABLE:Ethernet4', 'admin_status') === 'up');
      daemons.pause(false);
      await eventually(() => redis.cli(APPL, 'SCARD', 'PORT_TABLE_KEY_SET') === '0');
      await eventually(() => ports.port('Ethernet4')?.adminUp === true);
      t.deepEqual(carriers(box), PANEL);
    });
  });
});

test.serial('a Redis that hangs makes blind like one that is gone', async (t) => {
  await inSonicBox(async (box) => {
    await withPorts(box, async (ports) => {
      box.redis.freeze(true);
      await eventually(() => ports.blind !== undefined);
      t.regex(ports.blind!, /does not answer/);
      box.redis.freeze(false);
      await eventually(() => ports.blind === undefined);
    });
  });
});

test.serial('R4.7 SIGKILL while ports are shut: the next life reopens them, none stays shut', async (t) => {
  await inSonicBox(async (box) => {
    await withPorts(box, async () => {
      const stateFile = stateFileOf(box);
      const child = new URL('./support/sonic-child.ts', import.meta.url).pathname;
      const start = () =>
        spawn(process.execPath, [child, box.tor.netns, box.redis.socket, stateFile], { stdio: 'inherit' });
      for (const hang of [false, true]) {
        const first = start();
        const gone = once(first, 'exit');
        box.server.ip(`link set ${peer(UPLINK)} down`);
        // Once with the hardware done, once with the demand still under way.
        if (hang) {
          box.daemons.pause(true);
          await eventually(() => box.redis.cli(APPL, 'SCARD', 'PORT_TABLE_KEY_SET') === '4');
        } else await eventually(() => carriers(box).length === 0);
        first.kill('SIGKILL');
        await gone;
        box.server.ip(`link set ${peer(UPLINK)} up`);
        await eventually(() => box.kernel.port(UPLINK)!.carrier);
        const second = start();
        const over = once(second, 'exit');
        await new Promise((resolve) => setTimeout(resolve, 400));
        box.daemons.pause(false);
        t.is((await over)[0], 0);
        await eventually(() => carriers(box).length === PANEL.length);
        t.deepEqual(remembered(stateFile), []);
      }
    });
  });
});

test.serial('a box is SONiC by its version file, or by what its Redis holds', async (t) => {
  await inSonicBox(async ({ redis }) => {
    const nowhere = path.join(redis.folder, 'nothing');
    t.true(await isSonic({ socket: redis.socket, versionFile: nowhere }));
    redis.cli(CONFIG, 'DEL', 'DEVICE_METADATA|localhost');
    t.false(await isSonic({ socket: redis.socket, versionFile: nowhere }));
    t.false(await isSonic({ socket: nowhere, versionFile: nowhere }));
    writeFileSync(nowhere, '---\n');
    t.true(await isSonic({ socket: redis.socket, versionFile: nowhere }));
    await redis.kill();
    t.false(await isSonic({ socket: redis.socket, versionFile: `${nowhere}2` }));
  });
});
