import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { Clock, Instant } from '../../src/model/clock.ts';
import { type Port, PortError } from '../../src/model/ports.ts';
import type { PortLinkEffect, PortLinkGroupConfig } from '../../src/portlink/index.ts';
import { PortLinkDriver, PortLinkGroups } from '../../src/portlink/index.ts';
import { group } from './support.ts';

class VirtualClock implements Clock {
  time = 0;
  timers: { at: Instant; run: () => void }[] = [];
  now(): Instant {
    return this.time;
  }
  schedule(at: Instant, run: () => void) {
    const timer = { at, run };
    this.timers.push(timer);
    return {
      cancel: () => {
        this.timers = this.timers.filter((one) => one !== timer);
      },
    };
  }
  advance(ms: number): void {
    const end = this.time + ms;
    for (;;) {
      const due = this.timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (!due) break;
      this.timers = this.timers.filter((one) => one !== due);
      this.time = Math.max(this.time, due.at);
      due.run();
    }
    this.time = end;
  }
}

const folder = (t: ExecutionContext): string => {
  const made = mkdtempSync(path.join(tmpdir(), 'portlink-'));
  t.teardown(() => rmSync(made, { recursive: true, force: true, maxRetries: 10, retryDelay: 20 }));
  return made;
};

/** Driver, machine and a kernel that obeys at once and reports at once. */
function agent(
  stateFile: string,
  configs: PortLinkGroupConfig[],
  wires: Map<string, { adminUp: boolean; carrier: boolean }>,
) {
  const clock = new VirtualClock();
  const calls: string[] = [];
  const effects: PortLinkEffect[] = [];
  const errors: string[] = [];
  const disk: (string | undefined)[] = [];
  const hooks: { refuse?: Error; refusePort?: string; onSetAdmin?: () => void; onWithdraw?: () => void } = {};
  const port = (name: string): Port | undefined => {
    const wire = wires.get(name);
    if (!wire) return undefined;
    const { adminUp } = wire;
    const carrier = adminUp && wire.carrier;
    return { name, ifindex: 1, mac: undefined, mtu: 1500, adminUp, carrier, master: 0, kind: undefined, addresses: [] };
  };
  const log = {
    debug() {},
    info() {},
    warn() {},
    error: (_: object, message: string) => errors.push(message),
  };
  const driver: PortLinkDriver = new PortLinkDriver({
    groups: new PortLinkGroups(configs, clock.now()),
    clock,
    log,
    stateFile,
    wallClock: () => 1_700_000_000_000 + clock.now(),
    links: { port, portByIndex: () => undefined, ports: () => [], onChange: () => () => undefined },
    ports: {
      setAdmin(names, up) {
        calls.push(`${up ? 'up' : 'down'} ${names.join()}`);
        hooks.onSetAdmin?.();
        if (hooks.refuse) return Promise.reject(hooks.refuse);
        for (const name of names) {
          if (name === hooks.refusePort) continue;
          wires.get(name)!.adminUp = up;
          driver.portChanged({ name, before: undefined, after: port(name), at: clock.now() });
        }
        return hooks.refusePort !== undefined && names.includes(hooks.refusePort)
          ? Promise.reject(new AggregateError([new PortError(hooks.refusePort, 'EBUSY')], 'EBUSY'))
          : Promise.resolve();
      },
    },
    onUnwritable: (problem) => disk.push(problem),
    onEffect: (effect) => {
      effects.push(effect);
      if (effect.type === 'withdraw') {
        calls.push(`withdraw ${effect.ports.join()}`);
        hooks.onWithdraw?.();
      }
    },
  });
  driver.start();
  const carrier = (name: string, on: boolean): void => {
    wires.get(name)!.carrier = on;
    driver.portChanged({ name, before: undefined, after: port(name), at: clock.now() });
  };
  return { driver, clock, calls, effects, errors, disk, hooks, carrier };
}

const wiresUp = () => new Map(['A0', 'A1', 'A2', 'A3', 'A4'].map((name) => [name, { adminUp: true, carrier: true }]));
const ready = { type: 'upstream', ready: true, reason: '' } as const;
const stored = (file: string) => (JSON.parse(readFileSync(file, 'utf8')) as { ports: { port: string }[] }).ports;

test('R4.6 withdrawal, then one batch for all groups, in the turn of the event; the intent is on disk before the batch', (t) => {
  const file = path.join(folder(t), 'sub/portlink.json');
  const one = agent(
    file,
    [group({ downlinks: ['A1', 'A2'] }), group({ name: 'other', downlinks: ['A3', 'A4'] })],
    wiresUp(),
  );
  one.clock.advance(20_000);
  let intent = '';
  one.hooks.onSetAdmin = () => {
    intent = readFileSync(`${file}.intent`, 'utf8');
  };
  one.carrier('A0', false);
  t.deepEqual(one.calls, ['withdraw A1,A2', 'withdraw A3,A4', 'down A1,A2,A3,A4']);
  t.deepEqual(
    (JSON.parse(intent) as { port: string; since: number }[]).map(({ port, since }) => [port, since]),
    ['A1', 'A2', 'A3', 'A4'].map((port) => [port, 1_700_000_020_000]),
  );
});

test('the snapshot follows, empties the intent, and forgets the ports when they are open again', async (t) => {
  const file = path.join(folder(t), 'portlink.json');
  const one = agent(file, [group()], wiresUp());
  one.driver.handle(ready);
  one.clock.advance(20_000);
  one.carrier('A0', false);
  await one.driver.settled();
  t.is(stored(file).length, 4);
  t.is(readFileSync(`${file}.intent`, 'utf8'), '');
  one.carrier('A0', true);
  one.clock.advance(5000);
  await one.driver.settled();
  t.deepEqual(stored(file), []);
  t.is(one.calls.at(-1), 'up A1,A2,A3,A4');
  await one.driver.stop();
  t.deepEqual(one.clock.timers, []);
});

test('R4.7 a crash right after the batch, with nothing but the intent on disk: the next run reopens', async (t) => {
  const file = path.join(folder(t), 'portlink.json');
  const wires = wiresUp();
  const first = agent(file, [group()], wires);
  first.clock.advance(20_000);
  first.carrier('A0', false);
  const intent = readFileSync(`${file}.intent`, 'utf8');
  await first.driver.settled();
  rmSync(file);
  writeFileSync(`${file}.intent`, `${intent}[{"port":"A1","gro`);
  wires.get('A0')!.carrier = true;
  const second = agent(file, [group()], wires);
  second.driver.handle(ready);
  t.is(second.errors.length, 1); // the half line
  second.clock.advance(5000);
  t.deepEqual(second.calls, ['up A1,A2,A3,A4']);
  await second.driver.stop();
  t.deepEqual(stored(file), []);
});

test('a damaged state file is put aside and reported, and the agent starts', async (t) => {
  const file = path.join(folder(t), 'portlink.json');
  for (const content of ['{"version":1,"ports":', '{"version":9,"ports":[]}', '[]', '"x"']) {
    writeFileSync(file, content);
    const one = agent(file, [group()], wiresUp());
    t.is(one.errors.length, 1, content);
    t.is(readFileSync(`${file}.damaged`, 'utf8'), content);
    await one.driver.stop();
    t.false(existsSync(file) && readFileSync(file, 'utf8') === content);
  }
  writeFileSync(file, '{"version":1,"ports":[{"port":"A1"},7],"holds":{"fabric":"sideways"}}');
  const one = agent(file, [group()], wiresUp());
  t.is(one.errors.length, 2);
  t.is(one.driver.groups.view('fabric')!.held, undefined);
  await one.driver.stop();
});

test('since survives a restart in wall-clock time', async (t) => {
  const file = path.join(folder(t), 'portlink.json');
  const wires = wiresUp();
  const first = agent(file, [group()], wires);
  first.clock.advance(20_000);
  first.carrier('A0', false);
  await first.driver.stop();
  const second = agent(file, [group()], wires); // its clock starts at 0 = 20 s before the shut
  t.is(second.driver.groups.view('fabric')!.downlinks[0]!.since, 20_000);
});

test('onStop reopen opens what we shut, leave leaves it', async (t) => {
  for (const onStop of ['reopen', 'leave'] as const) {
    const file = path.join(folder(t), 'portlink.json');
    const one = agent(file, [group({ onStop })], wiresUp());
    one.clock.advance(20_000);
    one.carrier('A0', false);
    await one.driver.stop();
    t.is(one.calls.at(-1), onStop === 'reopen' ? 'up A1,A2,A3,A4' : 'down A1,A2,A3,A4');
    t.is(stored(file).length, onStop === 'reopen' ? 0 : 4);
  }
});

test('a refusal is reported and asked again; a hook that throws does not keep a port open', async (t) => {
  const one = agent(path.join(folder(t), 'portlink.json'), [group()], wiresUp());
  one.clock.advance(20_000);
  one.hooks.refuse = new Error('EPERM');
  one.hooks.onWithdraw = () => {
    throw new Error('announcer broke');
  };
  one.carrier('A0', false);
  await one.driver.settled();
  t.regex(one.errors[0]!, /not carried through/);
  t.true(one.effects.some((effect) => effect.type === 'alarm' && effect.reason.includes('EPERM')));
  delete one.hooks.refuse;
  one.clock.advance(1000);
  t.deepEqual(
    one.calls.filter((call) => call.startsWith('down')),
    ['down A1,A2,A3,A4', 'down A1,A2,A3,A4'],
  );
  t.true(one.driver.groups.view('fabric')!.downlinks.every(({ adminUp }) => !adminUp));
  await one.driver.stop();
});

test('R4.7 one port that is refused does not make the others of its batch look refused', async (t) => {
  const one = agent(path.join(folder(t), 'portlink.json'), [group()], wiresUp());
  one.driver.handle(ready);
  one.clock.advance(20_000);
  one.hooks.refusePort = 'A2';
  one.carrier('A0', false);
  await one.driver.settled();
  const alarms = () => one.effects.flatMap((effect) => (effect.type === 'alarm' ? effect.reason : []));
  t.deepEqual(alarms(), ['shutting A2 failed: EBUSY']);
  delete one.hooks.refusePort;
  one.clock.advance(1000);
  await one.driver.settled();
  t.is(one.calls.filter((call) => call.startsWith('down')).at(-1), 'down A2');

  one.hooks.refusePort = 'A3';
  one.carrier('A0', true);
  one.clock.advance(20_000);
  await one.driver.settled();
  t.is(alarms().at(-1), 'opening A3 failed: EBUSY');
  const shutByUs = () =>
    one.driver.groups.view('fabric')!.downlinks.flatMap((downlink) => (downlink.shutByUs ? downlink.port : []));
  t.deepEqual(shutByUs(), ['A3']);
  delete one.hooks.refusePort;
  one.clock.advance(5_000);
  await one.driver.settled();
  t.deepEqual(shutByUs(), []);
  await one.driver.stop();
});

test('a state folder that vanishes does not stop the failover', async (t) => {
  const file = path.join(folder(t), 'portlink.json');
  const two = agent(file, [group()], wiresUp());
  two.clock.advance(20_000);
  two.hooks.onWithdraw = () => rmSync(path.dirname(file), { recursive: true });
  two.carrier('A0', false);
  t.is(two.calls.at(-1), 'down A1,A2,A3,A4');
  await two.driver.settled();
  t.regex(two.errors.join(), /not saved/);
});

test('R4.6 R4.7 a disk that can not be written from the start on does not stop the failover, and is told until it can', async (t) => {
  const blocked = path.join(folder(t), 'no-folder');
  writeFileSync(blocked, '');
  const file = path.join(blocked, 'portlink.json');
  const one = agent(file, [group()], wiresUp());
  t.regex(one.disk.join(), /ENOTDIR|EEXIST/);
  one.clock.advance(20_000);
  one.carrier('A0', false);
  t.is(one.calls.at(-1), 'down A1,A2,A3,A4');
  await one.driver.settled();
  t.regex(one.errors.join(), /without a record on disk/);
  t.not(one.disk.at(-1), undefined);
  rmSync(blocked);
  one.clock.advance(5_000);
  await one.driver.settled();
  t.is(one.disk.at(-1), undefined, 'written again');
  t.is(stored(file).length, 4);
  await one.driver.stop();
});

test('R4.7 who stops and can not write down what is shut opens it, whatever onStop says: nobody would know of it', async (t) => {
  const blocked = path.join(folder(t), 'no-folder');
  writeFileSync(blocked, '');
  const one = agent(path.join(blocked, 'portlink.json'), [group({ onStop: 'leave' })], wiresUp());
  one.clock.advance(20_000);
  one.carrier('A0', false);
  t.is(one.calls.at(-1), 'down A1,A2,A3,A4');
  await one.driver.settled();
  await one.driver.stop();
  t.is(one.calls.at(-1), 'up A1,A2,A3,A4');
});

test('ports of no group are ignored; configure watches the new ones at once', (t) => {
  const wires = wiresUp();
  wires.set('X', { adminUp: true, carrier: false });
  const one = agent(path.join(folder(t), 'portlink.json'), [group({ downlinks: ['A1'] })], wires);
  one.clock.advance(20_000);
  one.driver.portChanged({ name: 'X', before: undefined, after: undefined, at: 0 });
  t.deepEqual(one.calls, []);
  one.driver.configure([group({ uplinks: ['X'], downlinks: ['A1', 'A2'] })]);
  t.is(one.calls.at(-1), 'down A1,A2');
});

test('startupDelay 0: the first picture and a reload are judged whole, never port by port', (t) => {
  const wires = wiresUp();
  const one = agent(path.join(folder(t), 'portlink.json'), [group({ startupDelay: 0 })], wires);
  t.deepEqual(one.calls, []);
  wires.set('B0', { adminUp: true, carrier: true });
  const adjacency = { type: 'verdict', port: 'B0', condition: 'adjacency', ok: true, reason: 'Full' } as const;
  one.driver.configure([group({ uplinks: ['B0'], startupDelay: 0, upWhen: ['carrier', 'adjacency'] })], [adjacency]);
  t.deepEqual(one.calls, []);
  one.driver.configure([group({ uplinks: ['B1'], startupDelay: 0 })]);
  t.deepEqual(one.calls, ['withdraw A1,A2,A3,A4', 'down A1,A2,A3,A4']);
});
