import test from 'ava';
import { HostMemory } from '../../src/agent/tor/host-memory.ts';
import type { Memory } from '../../src/hostroutes/index.ts';
import { parseAddress, parseMac } from '../../src/model/address.ts';
import type { Log } from '../../src/model/log.ts';
import { VirtualClock } from '../hostroutes/clock.ts';

const log: Log = { error() {}, warn() {}, info() {}, debug() {} };
const mac = parseMac('02:00:00:00:00:01')!;

const hostAt = (index: number, port = 'A1'): Memory => ({
  address: parseAddress(`10.20.${index >> 8}.${index & 255}`)!,
  mac,
  port,
  interface: port,
  ifindex: port === 'A1' ? 11 : 12,
  returns: undefined,
});

function memory() {
  const clock = new VirtualClock();
  const hosts = new Map<string, Memory>();
  const files: string[] = [];
  const store = { read: () => files.at(-1), write: (text: string) => void files.push(text) };
  const make = () => new HostMemory({ store, clock, log, read: () => [...hosts.values()] });
  let kept = make();
  return {
    clock,
    files,
    written: () => (files.length === 0 ? 0 : (JSON.parse(files.at(-1)!).hosts as unknown[]).length),
    says(...heard: readonly Memory[]): void {
      for (const host of heard) hosts.set(host.address, host);
      const announced = heard.map((host) => ({ ...host, mac, level: 0 }) as const);
      kept.changed({ withdrawn: [], announced });
    },
    restart(): void {
      kept = make();
      kept.load();
    },
  };
}

test('R4.7 who is learned is on the disk two seconds later, however long the learning goes on', (t) => {
  const { clock, says, written } = memory();
  for (let index = 0; index < 10_000; index += 100) {
    says(...Array.from({ length: 100 }, (_, each) => hostAt(index + each)));
    clock.advance(300);
    t.true(written() >= index + 100 - 8 * 100, `${written()} of ${index + 100}`);
  }
  clock.advance(2_000);
  t.is(written(), 10_000);
});

test('who moves to another port is written as soon, who comes and goes where he was is not', (t) => {
  const { clock, files, says } = memory();
  const all = Array.from({ length: 100 }, (_, each) => hostAt(each));
  says(...all);
  clock.advance(2_000);
  // A table that never rests: the next writing is a minute away.
  for (let second = 0; second < 300; second++) {
    says({ ...all[second % 100]!, returns: second % 2 === 0 });
    clock.advance(1_000);
  }
  const rested = files.length;
  t.true(rested < 12, `${rested} times in five minutes`);
  says({ ...all[7]!, port: 'A2', interface: 'A2' });
  clock.advance(2_000);
  t.is(files.length, rested + 1);
});

test('what an earlier life wrote is no news to the next', (t) => {
  const { clock, files, says, restart } = memory();
  says(hostAt(1), hostAt(2));
  clock.advance(2_000);
  restart();
  for (let second = 0; second < 20; second++) {
    says(hostAt(1), { ...hostAt(2), returns: second % 2 === 0 });
    clock.advance(1_000);
  }
  t.true(files.length < 8, `${files.length} times`);
});
