/**
 * The worked example as its gateway hears it: what A and B say of their ports, what they announce, where the gateway's
 * kernel sends. Time is moved by hand.
 */
import { encodeFact } from '../../../src/gateway/codec/index.ts';
import { type MapNews, PortMap } from '../../../src/gateway/machine/map.ts';
import { recall, remembered } from '../../../src/gateway/machine/memory.ts';
import type { HistoryEntry, MapLimits, MapRow, Moment, PlaceView, Source } from '../../../src/gateway/machine/types.ts';
import { type Address, formatMac, type Prefix } from '../../../src/model/address.ts';
import type { PortFact } from '../../../src/model/port-facts.ts';

export type SwitchName = 'A' | 'B';

export const START = 1_795_280_400_000;
export const HISTORY = 7 * 86_400_000;
/** Behind which port of which switch each server is at home, and where its other link goes. */
export const SERVERS = [
  { address: '10.10.10.1' as Address, home: 'A', port: 1, standby: 1 },
  { address: '10.10.10.2' as Address, home: 'A', port: 2, standby: 2 },
  { address: '10.10.10.4' as Address, home: 'B', port: 3, standby: 3 },
  { address: '10.10.10.5' as Address, home: 'B', port: 4, standby: 4 },
] as const;

export const routerIdOf = (name: SwitchName): Address => (name === 'A' ? '10.255.0.1' : '10.255.0.2') as Address;
/** Of the switch's uplink, A0 or B0. */
export const uplinkOf = (name: SwitchName): Address => (name === 'A' ? '192.0.2.1' : '192.0.2.5') as Address;
const near = (name: SwitchName) => ({
  port: name === 'A' ? 'ga' : 'gb',
  prefixes: [(name === 'A' ? '192.0.2.0/30' : '192.0.2.4/30') as Prefix],
});
/** Uplinks have 100, downlinks 1..4. */
export const UPLINK = 100;

export class Example {
  map: PortMap;
  readonly source: Source;
  readonly #limits: Partial<MapLimits> | undefined;
  #elapsed = 0;
  #life = 0;

  constructor(source: Source = 'bgp', limits?: Partial<MapLimits>) {
    this.source = source;
    this.#limits = limits;
    this.map = this.#newMap();
  }

  #newMap(): PortMap {
    return new PortMap({ history: HISTORY, ...(this.#limits ? { limits: this.#limits } : {}) });
  }

  get wall(): number {
    return START + this.#elapsed;
  }

  /** The monotonic clock of each life begins anew. */
  get moment(): Moment {
    return { now: this.#elapsed - this.#life, wall: this.wall };
  }

  /** What happened, oldest first. */
  history(about: (entry: HistoryEntry) => boolean): HistoryEntry[] {
    const entries = this.map.history.snapshot().filter(about);
    return entries.sort((one, other) => one.at - other.at);
  }

  /** Of all addresses that are hosts. */
  rows(): MapRow[] {
    return this.map.addresses().flatMap((address) => this.map.row(address) ?? []);
  }

  wait(ms: number): MapNews {
    this.#elapsed += ms;
    return this.map.flush(this.moment);
  }

  flush(): MapNews {
    return this.map.flush(this.moment);
  }

  /** All at home, all heard; but `moved` are behind their standby links. */
  begin(moved: readonly string[] = []): this {
    this.nearEnd('A', true);
    this.nearEnd('B', true);
    for (const name of ['A', 'B'] as const) {
      this.say(name, UPLINK);
      for (const port of [1, 2, 3, 4]) this.say(name, port);
    }
    for (const { address, home, port, standby } of SERVERS) {
      const away = moved.includes(address);
      const there = away === (home === 'A') ? 'B' : 'A';
      this.host(there, address, away ? standby : port);
      this.route(address, there);
    }
    this.flush();
    return this;
  }

  nearEnd(name: SwitchName, up: boolean): void {
    const { port, prefixes } = near(name);
    this.map.handle({ type: 'port', port, up, why: up ? '' : `${port} lost carrier`, prefixes }, this.moment);
  }

  fact(name: SwitchName, ifindex: number, changes: Partial<PortFact> = {}): PortFact {
    const uplink = ifindex === UPLINK;
    return {
      routerId: routerIdOf(name),
      switchName: name,
      port: uplink ? `${name}0` : `${name}${ifindex}`,
      ifindex,
      role: uplink ? 'uplink' : 'downlink',
      state: 'up',
      since: START,
      reason: '',
      addresses: uplink ? [uplinkOf(name)] : [],
      macs: uplink ? [] : [formatMac(Uint8Array.of(2, 0, 0, 0, 0, ifindex))],
      ...changes,
    };
  }

  say(name: SwitchName, ifindex: number, changes: Partial<PortFact> = {}): void {
    const { key, value } = encodeFact(this.fact(name, ifindex, { since: this.wall, ...changes }));
    this.map.handle(
      { type: 'fact', source: this.source, fact: { routerId: routerIdOf(name), key, value } },
      this.moment,
    );
  }

  unsay(name: SwitchName, ifindex: number, reason: string): void {
    const { key } = encodeFact(this.fact(name, ifindex));
    const fact = { routerId: routerIdOf(name), key, value: undefined, reason };
    this.map.handle({ type: 'fact', source: this.source, fact }, this.moment);
  }

  host(name: SwitchName, address: Address, port: number | undefined, { up = true, shadow = false } = {}): void {
    const route = { address, routerId: routerIdOf(name), portIndex: port, shadow, up };
    this.map.handle({ type: 'host', source: this.source, route }, this.moment);
  }

  route(address: Address, name: SwitchName | undefined): void {
    const nextHops = name ? [{ port: near(name).port, via: uplinkOf(name) }] : [];
    this.map.handle({ type: 'route', address, nextHops }, this.moment);
  }

  /** Nothing of the switch is heard any more. */
  lose(name: SwitchName, reason: string): void {
    for (const port of [UPLINK, 1, 2, 3, 4]) this.unsay(name, port, reason);
    for (const host of this.map.hosts.all()) {
      const said = host.announcements.get(routerIdOf(name))?.get(this.source);
      if (said) this.host(name, host.address, said.portIndex, { up: false, shadow: said.shadow });
    }
  }

  /** Through the file, as it would be read. */
  restart(downFor: number): number {
    const values = JSON.parse(JSON.stringify([...remembered(this.map)])) as unknown[];
    this.#elapsed += downFor;
    this.#life = this.#elapsed;
    this.map = this.#newMap();
    return recall(this.map, values, this.moment);
  }

  row(address: string): MapRow {
    this.flush();
    const row = this.map.row(address as Address);
    if (!row) throw new Error(`${address} is not in the map`);
    return row;
  }

  place(address: string, name: SwitchName): PlaceView {
    const place = this.row(address).places.find(({ routerId }) => routerId === routerIdOf(name));
    if (!place) throw new Error(`${address} has no place at ${name}`);
    return place;
  }

  /** `up A A0 up A2 up | down B ...`: the row in a line. */
  text(address: string): string {
    return this.row(address)
      .places.map(({ state, gatewayPort, switchName, uplink, downlink, old }) =>
        [
          state + (old ? ' (old)' : ''),
          gatewayPort && `${gatewayPort.port} ${gatewayPort.state}`,
          switchName,
          uplink && `${uplink.port} ${uplink.state}`,
          downlink && `${downlink.port} ${downlink.state}`,
        ]
          .filter((part) => part !== undefined)
          .join(' '),
      )
      .join(' | ');
  }
}
