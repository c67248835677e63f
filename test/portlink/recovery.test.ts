import test from 'ava';
import { Box, group } from './support.ts';

test('R4.7 recovery is make-before-break: recoveryDelay of enough uplinks, then the upstream gate, then one batch', (t) => {
  const box = Box.running(group());
  box.upstream(false);
  box.carrier('A0', false);
  box.run(3000);
  box.carrier('A0', true);
  t.is(box.group().state, 'recovering');
  box.run(4999);
  t.deepEqual(box.said('open'), []);
  box.run(60_000);
  t.deepEqual(box.said('open'), []);
  t.regex(box.group().reason, /waiting for upstream: bgp down/);
  box.upstream(true);
  t.deepEqual(box.said('open'), ['open A1,A2,A3,A4']);
  t.deepEqual(box.said('state'), ['up>shut', 'shut>recovering', 'recovering>up']);
  t.deepEqual(box.machine.memory().ports, []);
});

test('R4.7 upstream that was never down opens the gate at the end of recoveryDelay, not before', (t) => {
  const box = Box.running(group());
  box.carrier('A0', false);
  box.run(1);
  box.carrier('A0', true);
  box.run(4999);
  t.deepEqual(box.shutPorts, ['A1', 'A2', 'A3', 'A4']);
  t.regex(box.group().reason, /waiting for recoveryDelay/);
  box.run(1);
  t.deepEqual(box.shutPorts, []);
});

test('R4.7 an uplink that flaps while recovering starts recoveryDelay anew', (t) => {
  const box = Box.running(group());
  box.carrier('A0', false);
  box.carrier('A0', true);
  box.run(4000);
  box.carrier('A0', false);
  t.is(box.group().state, 'shut');
  box.carrier('A0', true);
  box.run(4999);
  t.deepEqual(box.said('open'), []);
  box.run(1);
  t.deepEqual(box.said('open'), ['open A1,A2,A3,A4']);
});

test('R4.7 upstream that is lost while the group is up shuts nothing: upWhen says what counts', (t) => {
  const box = Box.running(group());
  box.upstream(false);
  box.run(60_000);
  t.deepEqual(box.said(), []);
});

test('R4.7 crash with ports shut, uplinks back: the next run reopens them, even during startup', (t) => {
  const before = Box.running(group());
  before.carrier('A0', false);
  const memory = before.machine.memory();
  t.deepEqual(
    memory.ports.map(({ port }) => port),
    ['A1', 'A2', 'A3', 'A4'],
  );
  before.ports.get('A0')!.carrier = true;
  const after = before.restart(memory, group());
  t.is(after.group().state, 'startup');
  after.run(4999);
  t.deepEqual(after.said('open'), []);
  after.upstream(true);
  after.run(1);
  t.deepEqual(after.said('open'), ['open A1,A2,A3,A4']);
  t.is(after.group().state, 'startup');
  after.run(5000);
  t.is(after.group().state, 'up');
});

test('R4.7 crash between the decision to reopen and the opening itself: the next run opens the ports', (t) => {
  const before = Box.running(group());
  before.carrier('A0', false);
  before.ports.get('A0')!.carrier = true;
  // To the machine itself: the make-before-break of the driver takes its time.
  before.machine.handle({ type: 'port', port: 'A0', adminUp: true, carrier: true }, before.now);
  before.now += 5000;
  const said = before.machine.handle({ type: 'tick' }, before.now);
  t.true(said.some(({ type }) => type === 'open'));
  t.not(before.machine.nextDeadline(), Number.POSITIVE_INFINITY);
  const version = before.machine.memoryVersion;
  const memory = before.machine.memory();
  t.deepEqual(memory.ports.map(({ port }) => port).toSorted(), ['A1', 'A2', 'A3', 'A4']);
  const after = before.restart(memory, group());
  after.upstream(true);
  after.run(5000);
  t.deepEqual(after.shutPorts, []);
  before.machine.handle({ type: 'openDone', ports: ['A1', 'A2', 'A3', 'A4'] }, before.now);
  t.deepEqual(before.machine.memory().ports, []);
  t.not(before.machine.memoryVersion, version, 'the disk is told');
});

test('R4.7 crash with ports shut, uplinks still down: the next run keeps them shut and opens them later', (t) => {
  const before = Box.running(group());
  before.carrier('A0', false);
  const after = before.restart(before.machine.memory(), group());
  after.upstream(true);
  after.run(30_000);
  t.deepEqual(after.said('shut', 'open'), []);
  t.is(after.group().state, 'shut');
  t.true(after.group().downlinks.every(({ shutByUs }) => shutByUs));
  after.carrier('A0', true);
  after.run(5000);
  t.deepEqual(after.shutPorts, []);
});

test('R4.7 ports that were remembered but are open, or no longer in any group, are handed over', (t) => {
  const before = Box.running(group());
  before.admin('A4', false);
  before.carrier('A0', false);
  const memory = before.machine.memory();
  before.ports.get('A1')!.adminUp = true; // opened by somebody while no agent ran
  const after = before.restart(memory, group({ downlinks: ['A1', 'A2'] }));
  t.deepEqual(after.said('open'), ['open A3']);
  t.deepEqual(
    after.machine.memory().ports.map(({ port }) => port),
    ['A2'],
  );
  // A4 was its operator's.
  t.deepEqual(after.shutPorts, ['A2', 'A4']);
  t.deepEqual(after.said('alarm'), []);
});

test('R4.7 a remembered port that is not there yet is reopened when it comes', (t) => {
  const before = Box.running(group());
  before.carrier('A0', false);
  const memory = before.machine.memory();
  const wire = before.ports.get('A2')!;
  before.ports.delete('A2');
  before.ports.get('A0')!.carrier = true;
  const after = before.restart(memory, group());
  after.upstream(true);
  after.run(60_000);
  t.deepEqual(after.said('open'), ['open A1,A3,A4']);
  after.ports.set('A2', wire);
  after.show('A2');
  after.run(1);
  t.deepEqual(after.shutPorts, []);
});

test('startup: a loss is not acted upon before startupDelay, and is at its end', (t) => {
  const box = new Box(group());
  box.carrier('A0', false);
  box.run(9999);
  t.deepEqual(box.said(), []);
  t.is(box.group().state, 'startup');
  box.run(1);
  t.deepEqual(box.said('shut', 'state'), ['shut A1,A2,A3,A4', 'startup>shut']);
});

test('startup: deferDelay does not start again at the end of startup', (t) => {
  const box = new Box(group({ deferDelay: 4000 }));
  box.run(8000);
  box.carrier('A0', false);
  box.run(3999);
  t.deepEqual(box.said('shut'), []);
  box.run(1);
  t.deepEqual(box.said('shut'), ['shut A1,A2,A3,A4']);
});

test('autoRecover off: shut until an operator releases, then as usual, and only once', (t) => {
  const box = Box.running(group({ autoRecover: false }));
  box.carrier('A0', false);
  box.carrier('A0', true);
  box.run(3_600_000);
  t.is(box.group().state, 'shut');
  t.regex(box.group().reason, /autoRecover is off: release the group/);
  box.send({ type: 'release', group: 'fabric' });
  t.deepEqual(box.shutPorts, []);
  box.carrier('A0', false);
  box.carrier('A0', true);
  box.run(3_600_000);
  t.is(box.group().state, 'shut');
});

test('the kernel refuses to open: the ports stay ours and are asked again', (t) => {
  const box = Box.running(group());
  box.carrier('A0', false);
  box.carrier('A0', true);
  box.refuse = 'open';
  box.run(7500);
  t.is(box.said('open').length, 3);
  t.is(box.machine.memory().ports.length, 4);
  t.regex(box.said('alarm')[0]!, /opening A1, A2, A3, A4 failed: EBUSY/);
  box.refuse = undefined;
  box.run(1000);
  t.deepEqual(box.shutPorts, []);
  t.is(box.group().state, 'up');
  t.deepEqual(box.machine.memory().ports, []);
});

test('the kernel refuses to open with recoveryDelay 0: no tick storm', (t) => {
  const box = Box.running(group({ recoveryDelay: 0 }));
  box.carrier('A0', false);
  box.refuse = 'open';
  box.carrier('A0', true);
  t.true(box.machine.nextDeadline()! > box.now);
  box.run(3500);
  t.is(box.said('open').length, 4);
});

test('R4.6 the uplinks go again before our own opening was seen: the ports are shut again', (t) => {
  const box = Box.running(group({ recoveryDelay: 0 }));
  const see = (adminUp: boolean) =>
    ['A1', 'A2', 'A3', 'A4'].flatMap((port) =>
      box.machine.handle({ type: 'port', port, adminUp, carrier: adminUp }, box.now),
    );
  const uplink = (up: boolean) =>
    box.machine
      .handle({ type: 'port', port: 'A0', adminUp: true, carrier: up }, box.now)
      .flatMap((effect) =>
        effect.type === 'shut' || effect.type === 'open' ? [`${effect.type} ${effect.ports}`] : [],
      );
  t.deepEqual(uplink(false), ['shut A1,A2,A3,A4']);
  t.deepEqual(uplink(true), ['open A1,A2,A3,A4']);
  t.deepEqual(uplink(false), ['shut A1,A2,A3,A4']);
  // Only now come the notifications of all three, and the last word stands.
  t.deepEqual([...see(false), ...see(true), ...see(false)], []);
  t.is(box.machine.memory().ports.length, 4);
});
