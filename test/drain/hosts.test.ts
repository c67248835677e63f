import test from 'ava';
import fc from 'fast-check';
import type { HostEvent } from '../../src/hostroutes/machine/types.ts';
import type { Prefix } from '../../src/model/address.ts';
import { address, Bench, heard, mac, policy } from '../hostroutes/helpers.ts';

const door = { interface: 'door', ifindex: 9, mac: mac(9) };
const C4 = address('10.10.10.2');
const leave = { type: 'leave', ports: ['A2'], reason: 'drained' } as const;
const left = (turned = true) => ({ type: 'left', addresses: [C4], turned }) as const;

function bench(): Bench {
  const made = new Bench(policy({ returning: { mode: 'always', wait: 1_000, door } }));
  made.do(made.live('10.10.10.2', 'A2'));
  return made;
}

test('R4.7 a host that leaves goes on being announced, at level 0, while its packets wait; then it is withdrawn once', (t) => {
  const table = new Bench(policy({ returning: { mode: 'always', wait: 1_000, door } }));
  table.do({ type: 'foreignClaim', claim: { address: C4, level: 0, from: 'B' } });
  table.do(table.live('10.10.10.2', 'A2'));
  t.is(table.model.get(C4)!.level, 1);
  table.do({ type: 'foreignClaim', claim: { address: C4, level: undefined, from: 'B' } });
  table.do(leave);
  t.deepEqual(table.model.get(C4), { address: C4, level: 0, ...door });
  table.do({ type: 'portDown', ports: ['A2'], reason: 'administratively down' });
  table.run(60_000);
  t.is(table.model.get(C4)!.interface, 'door', 'until the agent says that it has left');
  table.do(left());
  t.false(table.model.has(C4));
  table.do(left());
  t.is(table.table.counters().leaving, 0);
});

test('a new policy that refuses a host is not put off until it has left, or come back', (t) => {
  const returning = { mode: 'always', wait: 1_000, door } as const;
  const elsewhere = policy({ returning, prefixes: ['10.10.10.128/25' as Prefix] });
  const table = bench();
  table.do(leave);
  t.true(table.model.has(C4));
  table.do({ type: 'configure', policy: elsewhere });
  t.false(table.model.has(C4));
  t.is(table.table.counters().leaving, 0);

  const other = bench();
  other.do({ type: 'portDown', ports: ['A2'], reason: 'carrier lost' });
  other.do({ type: 'foreignClaim', claim: { address: C4, level: 0, from: 'B' } });
  other.do({ type: 'expect', ports: ['A2'] });
  t.is(other.model.get(C4)!.interface, 'door');
  other.do({ type: 'configure', policy: elsewhere });
  t.false(other.model.has(C4));
  other.run(5_000);
  t.false(other.model.has(C4));
});

test('nothing is learned on a port that is being drained', (t) => {
  const table = bench();
  table.do(leave);
  table.do(heard('10.10.10.2', 'A2'));
  t.is(table.model.get(C4)!.interface, 'door', 'the server speaks until its port is shut');
});

test('R4.7 opened again: heard there, it is a host like before', (t) => {
  const table = bench();
  table.do(leave);
  table.do({ type: 'portDown', ports: ['A2'], reason: 'administratively down' });
  table.do({ type: 'blockPorts', ports: ['A2'], blocked: false, reason: 'undrained' });
  table.do({ type: 'portUp', port: 'A2' });
  table.run(500);
  t.is(table.model.get(C4)!.interface, 'A2', 'it was asked, and answered');
  table.do(left());
  t.is(table.model.get(C4)!.interface, 'A2', 'too late');
});

test('R4.7 after the drain it is expected back as after any shut', (t) => {
  const table = bench();
  table.do(leave);
  table.do({ type: 'portDown', ports: ['A2'], reason: 'administratively down' });
  table.do({ type: 'foreignClaim', claim: { address: C4, level: 1, from: 'B' } });
  table.do(left());
  table.do({ type: 'expect', ports: ['A2'] });
  t.deepEqual(table.model.get(C4), { address: C4, level: 2, ...door });
});

test('R4.7 in mode learned it is expected back once, and then as it has shown', (t) => {
  const table = new Bench(policy({ returning: { mode: 'learned', wait: 1_000, door } }));
  const drained = (): void => {
    table.do(table.live('10.10.10.2', 'A2'));
    table.do(leave);
    table.do({ type: 'portDown', ports: ['A2'], reason: 'administratively down' });
    table.do({ type: 'foreignClaim', claim: { address: C4, level: 1, from: 'B' } });
    table.do(left());
    table.alive.clear();
    table.do({ type: 'expect', ports: ['A2'] });
  };
  const opened = (): void => {
    table.do({ type: 'blockPorts', ports: ['A2'], blocked: false, reason: 'undrained' });
    table.do({ type: 'portUp', port: 'A2' });
    table.run(5_000);
    table.do({ type: 'foreignClaim', claim: { address: C4, level: undefined, from: 'B' } });
  };
  drained();
  t.true(table.model.has(C4));
  opened();
  t.false(table.model.has(C4), 'it stayed away');
  drained();
  t.false(table.model.has(C4), 'and is not expected any more');
});

test('where packets can not wait, its hosts go with the port', (t) => {
  const table = new Bench(policy());
  table.do(table.live('10.10.10.2', 'A2'));
  table.do(leave);
  t.true(table.model.has(C4));
  table.do({ type: 'portDown', ports: ['A2'], reason: 'administratively down' });
  t.false(table.model.has(C4));
});

test('a port that is no downlink any more keeps nobody', (t) => {
  const table = bench();
  table.do(leave);
  table.do({ type: 'configure', policy: policy({ ports: ['A1'], returning: { mode: 'always', wait: 1_000, door } }) });
  t.is(table.model.size, 0);
});

test('R4.7 leaving amid everything else: the deltas add up to what is announced', (t) => {
  const ports = fc.subarray(['A1', 'A2'], { minLength: 1 });
  const host = fc.integer({ min: 1, max: 3 }).map((last) => `10.10.10.${last}`);
  const event: fc.Arbitrary<HostEvent> = fc.oneof(
    { weight: 4, arbitrary: fc.tuple(host, fc.constantFrom('A1', 'A2')).map(([text, port]) => heard(text, port)) },
    fc.record({ type: fc.constant('portDown' as const), ports, reason: fc.constant('down') }),
    fc.record({ type: fc.constant('portUp' as const), port: fc.constantFrom('A1', 'A2') }),
    fc.record({ type: fc.constant('blockPorts' as const), ports, blocked: fc.boolean(), reason: fc.constant('group') }),
    fc.record({ type: fc.constant('leave' as const), ports, reason: fc.constant('drained') }),
    fc.record({
      type: fc.constant('left' as const),
      addresses: host.map((text) => [address(text)]),
      turned: fc.boolean(),
    }),
    fc.record({ type: fc.constant('expect' as const), ports }),
    fc
      .tuple(host, fc.constantFrom(undefined, 0 as const, 1 as const))
      .map(
        ([text, level]): HostEvent => ({ type: 'foreignClaim', claim: { address: address(text), level, from: 'B' } }),
      ),
  );
  fc.assert(
    fc.property(fc.array(event, { minLength: 1, maxLength: 60, size: 'max' }), (story) => {
      const made = new Bench(policy({ returning: { mode: 'always', wait: 300, door } }));
      for (const each of story) {
        made.do(each);
        made.run(50);
        const said = made.table.announced().map((route) => [route.address, route] as const);
        if (said.length !== made.model.size) throw new Error('the deltas do not add up');
        for (const [host, route] of said) if (made.model.get(host) !== route) throw new Error(`${host} differs`);
      }
      for (const last of [1, 2, 3]) made.do({ type: 'left', addresses: [address(`10.10.10.${last}`)], turned: true });
      made.run(120_000);
      if (made.model.size > 0) throw new Error('somebody is announced for ever');
    }),
    { numRuns: 300 },
  );
  t.pass();
});
