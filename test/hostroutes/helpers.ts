import { HostTable } from '../../src/hostroutes/machine/table.ts';
import type { Heard, HostEffect, HostEvent, HostPolicy } from '../../src/hostroutes/machine/types.ts';
import type { Address, Mac, Prefix } from '../../src/model/address.ts';
import type { HostRoute } from '../../src/model/hosts.ts';

export const address = (text: string) => text as Address;
export const mac = (last: number) => `02:00:00:00:00:${last.toString(16).padStart(2, '0')}` as Mac;

export function policy(overrides: Partial<HostPolicy> = {}): HostPolicy {
  return {
    prefixes: ['10.10.10.0/24' as Prefix],
    ports: ['A1', 'A2', 'A3', 'A4'],
    sources: { arp: true, neighbours: true, bgp: true, kernel: true, static: [] },
    probe: { interval: 5000, retries: 3, timeout: 200 },
    limits: { perPort: 256, total: 20_000 },
    activeActive: false,
    ownAddresses: [address('10.10.10.254')],
    ...overrides,
  };
}

export function heard(text: string, port: string, overrides: Partial<Heard> = {}): Heard {
  return {
    type: 'heard',
    source: 'arp',
    address: address(text),
    mac: mac(Number(text.slice(text.lastIndexOf('.') + 1)) & 255),
    port,
    interface: port,
    ifindex: 100 + Number(port.slice(1)),
    ...overrides,
  };
}

/** A table on a virtual clock, with a model that applies its deltas as an announcer does. */
export class Bench {
  now = 1000;
  readonly table: HostTable;
  readonly model = new Map<Address, HostRoute>();
  readonly log: HostEffect[] = [];
  /** Addresses that answer probes, at which port. */
  readonly alive = new Map<Address, { port: string; answer: () => Heard }>();

  constructor(configuration = policy(), random = () => 0) {
    this.table = new HostTable(configuration, random);
  }

  do(event: HostEvent): HostEffect[] {
    const effects = this.table.handle(event, this.now);
    for (const [index, effect] of effects.entries()) {
      if (effect.type === 'delta') {
        if (index !== 0) throw new Error('the delta must come first');
        const seen = new Set<Address>();
        for (const gone of effect.delta.withdrawn) {
          if (!this.model.delete(gone)) throw new Error(`withdrawn but never announced: ${gone}`);
          seen.add(gone);
        }
        for (const route of effect.delta.announced) {
          if (seen.has(route.address)) throw new Error(`twice in a delta: ${route.address}`);
          seen.add(route.address);
          this.model.set(route.address, route);
        }
      }
      this.log.push(effect);
    }
    return effects;
  }

  /** Lets time pass, ticking at each deadline; alive hosts answer their probes after 1 ms at their own port. */
  run(ms: number): HostEffect[] {
    const start = this.log.length;
    const end = this.now + ms;
    const answers: { at: number; heard: Heard }[] = [];
    let turns = 0;
    for (;;) {
      if (++turns > 1_000_000) throw new Error('time does not pass');
      const deadline = this.table.nextDeadline() ?? Number.POSITIVE_INFINITY;
      const answer = answers[0]?.at ?? Number.POSITIVE_INFINITY;
      const next = Math.min(deadline, answer);
      if (next > end) break;
      this.now = Math.max(this.now, next);
      const effects = answer <= deadline ? this.do(answers.shift()!.heard) : this.do({ type: 'tick' });
      for (const effect of effects) {
        if (effect.type !== 'probe') continue;
        const host = this.alive.get(effect.address);
        if (host && host.port === effect.port) answers.push({ at: this.now + 1, heard: host.answer() });
      }
    }
    this.now = end;
    return this.log.slice(start);
  }

  live(text: string, port: string): Heard {
    const event = heard(text, port);
    this.alive.set(event.address, { port, answer: () => event });
    return event;
  }
}

export const deltas = (effects: readonly HostEffect[]) => effects.filter((effect) => effect.type === 'delta');
export const probes = (effects: readonly HostEffect[]) => effects.filter((effect) => effect.type === 'probe');
