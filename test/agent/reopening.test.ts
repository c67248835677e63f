import test from 'ava';
import { Reopening } from '../../src/agent/tor/reopening.ts';
import { type Address, parseAddress } from '../../src/model/address.ts';
import type { Clock } from '../../src/model/clock.ts';

class HandClock implements Clock {
  at = 0;
  #timers = new Set<{ at: number; run: () => void }>();
  now = () => this.at;
  schedule(at: number, run: () => void) {
    const timer = { at, run };
    this.#timers.add(timer);
    return { cancel: () => this.#timers.delete(timer) };
  }
  advance(to: number): void {
    for (;;) {
      const due = [...this.#timers].filter((timer) => timer.at <= to).sort((a, b) => a.at - b.at)[0];
      if (!due) break;
      this.#timers.delete(due);
      this.at = Math.max(this.at, due.at);
      due.run();
    }
    this.at = to;
  }
}

const C3 = parseAddress('10.10.10.1')!;
const C4 = parseAddress('10.10.10.2')!;

function bench(expected: Address[], announcing = () => false) {
  const clock = new HandClock();
  const opened: { at: number; ports: readonly string[] }[] = [];
  const waits: { at: number; ports: readonly string[] }[] = [];
  const reopening = new Reopening({
    clock,
    expect: () => expected,
    announcing,
    waitAgain: (ports) => waits.push({ at: clock.at, ports }),
    open: (ports) => {
      opened.push({ at: clock.at, ports });
      return Promise.resolve();
    },
  });
  return { clock, opened, reopening, waits };
}

test('R4.7 ports behind which nobody is expected open at once', (t) => {
  const { opened, reopening } = bench([]);
  reopening.open(['A1']);
  t.deepEqual(opened, [{ at: 0, ports: ['A1'] }]);
});

test('R4.7 ports open when traffic has come for every expected host', (t) => {
  const { clock, opened, reopening } = bench([C3, C4]);
  reopening.open(['A1', 'A2']);
  clock.advance(60);
  reopening.arrived(C3);
  clock.advance(62);
  t.deepEqual(opened, []);
  reopening.arrived(C4);
  clock.advance(62);
  t.deepEqual(opened, [{ at: 62, ports: ['A1', 'A2'] }]);
});

test('R4.7 a host without traffic holds the others up for 300 ms after the first sign, 900 ms in all', (t) => {
  const one = bench([C3, C4]);
  one.reopening.open(['A1']);
  one.clock.advance(100);
  one.reopening.arrived(C3);
  one.clock.advance(399);
  t.deepEqual(one.opened, []);
  one.clock.advance(400);
  t.deepEqual(one.opened, [{ at: 400, ports: ['A1'] }]);

  const none = bench([C3]);
  none.reopening.open(['A1']);
  none.clock.advance(899);
  t.deepEqual(none.opened, []);
  none.clock.advance(900);
  t.is(none.opened.length, 1);

  const late = bench([C3, C4]);
  late.reopening.open(['A1']);
  late.clock.advance(850);
  late.reopening.arrived(C3);
  late.clock.advance(900);
  t.is(late.opened.length, 1);
});

test('R4.7 as long as the fabric turns, host by host, the ports stay shut and packets wait', (t) => {
  const hosts = Array.from({ length: 20 }, (_, index) => parseAddress(`10.10.10.${index + 1}`)!);
  const { clock, opened, reopening } = bench(hosts);
  reopening.open(['A1']);
  for (const [index, host] of hosts.slice(0, 5).entries()) {
    clock.advance(100 * (index + 1));
    reopening.unrivalled(host);
  }
  clock.advance(799);
  t.deepEqual(opened, [], '300 ms after the first sign the fabric was still turning');
  clock.advance(800);
  t.deepEqual(opened, [{ at: 800, ports: ['A1'] }], '300 ms after the last');
});

test('R4.7 for thousands of hosts a gateway may turn, and write its table, for longer', (t) => {
  const hosts = Array.from({ length: 10_500 }, (_, index) => parseAddress(`10.20.${index >> 8}.${index & 255}`)!);
  const { clock, opened, reopening } = bench(hosts);
  reopening.open(['A1']);
  for (const [index, host] of hosts.entries()) {
    if (index % 1_050 === 0) clock.advance(200 * (1 + index / 1_050));
    reopening.unrivalled(host);
  }
  t.is(clock.at, 2_000);
  clock.advance(2_529);
  t.deepEqual(opened, [], 'the last is chosen and not written yet');
  clock.advance(2_530);
  t.is(opened.length, 1);

  const slow = bench(hosts);
  slow.reopening.open(['A1']);
  for (let index = 0; index < 29; index++) {
    slow.clock.advance(100 * (index + 1));
    slow.reopening.unrivalled(hosts[index]!);
  }
  t.is(slow.opened.length, 1, 'but not for ever');
});

test('R4.7 as long as hosts wait to be announced, ports stay shut, but not for ever', (t) => {
  let announcing = true;
  const { clock, opened, reopening } = bench([C3, C4], () => announcing);
  reopening.open(['A1']);
  clock.advance(1_500);
  t.deepEqual(opened, [], 'the second is not announced yet');
  reopening.unrivalled(C3);
  clock.advance(1_600);
  t.deepEqual(opened, []);
  announcing = false;
  clock.advance(1_700);
  t.is(opened.length, 1);

  const stuck = bench([C3], () => true);
  stuck.reopening.open(['A1']);
  stuck.clock.advance(3_900);
  t.deepEqual(stuck.opened, []);
  stuck.clock.advance(4_100);
  t.is(stuck.opened.length, 1);
});

test('R4.7 hosts are not given up while their port is kept shut because others wait to be announced', (t) => {
  const { clock, opened, reopening, waits } = bench([C3, C4], () => clock.at < 2_000);
  reopening.open(['A1', 'A2']);
  clock.advance(899);
  t.deepEqual(waits, [], 'they are waited for anyway, for longer than this');
  clock.advance(1_000);
  reopening.shut(['A2']);
  clock.advance(2_100);
  t.deepEqual(
    waits.map(({ at, ports }) => `${ports.join(' ')} at ${at}`),
    ['A1 A2 at 900', 'A1 at 1400', 'A1 at 1900'],
    'sooner than a second after the one before',
  );
  t.is(opened.length, 1);
});

test('R4.6 a port that is shut again meanwhile is not opened', async (t) => {
  const { clock, opened, reopening } = bench([C3, C4]);
  const opening = reopening.open(['A1', 'A2']);
  clock.advance(10);
  reopening.shut(['A1']);
  reopening.arrived(C3);
  reopening.unrivalled(C4);
  clock.advance(1_000);
  t.deepEqual(opened, [{ at: 40, ports: ['A2'] }]);
  await opening;

  const all = bench([C3]);
  const none = all.reopening.open(['A1']);
  all.reopening.shut(['A1']);
  all.clock.advance(1_000);
  t.deepEqual(all.opened, []);
  await none;
});
