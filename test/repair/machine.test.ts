import test from 'ava';
import fc from 'fast-check';
import {
  type RepairEffect,
  type RepairEvent,
  RepairMachine,
  type RepairSettings,
} from '../../src/agent/tor/repair/machine.ts';
import type { Address, Mac } from '../../src/model/address.ts';
import type { HostRoute } from '../../src/model/hosts.ts';

const HOST = '10.10.10.2' as Address;
const OTHER = '10.10.10.1' as Address;
const OWN = '192.0.2.2' as Address;
const B = '10.255.0.2';
const AT_B = '192.0.2.6' as Address;
const SETTINGS: RepairSettings = { hold: 3_000, margin: 1_000, limit: 100 };

const route = (address: Address = HOST, ifindex = 12): HostRoute => ({
  address,
  interface: `A${ifindex - 10}`,
  ifindex,
  mac: '02:00:00:00:00:02' as Mac,
  level: 0,
});

const ours = (address: Address = HOST, ifindex?: number): RepairEvent => ({
  type: 'ours',
  host: route(address, ifindex),
});
const gone = (address: Address = HOST): RepairEvent => ({ type: 'gone', address });
const standsBy = (address: Address = HOST, from = B, endpoint: Address | undefined = AT_B): RepairEvent => ({
  type: 'shadow',
  shadow: { address, up: true, from, ...(endpoint === undefined ? {} : { endpoint }) },
});
const standsDown = (address: Address = HOST, from = B): RepairEvent => ({
  type: 'shadow',
  shadow: { address, up: false, from },
});
const claims = (level: 0 | undefined, address: Address = HOST, from = B): RepairEvent => ({
  type: 'claim',
  claim: { address, level, from, endpoint: AT_B },
});
const source = (address: Address | undefined): RepairEvent => ({ type: 'source', address });
const TIME: RepairEvent = { type: 'time' };

/** What comes of events at their times, as text. */
function story(machine: RepairMachine, ...events: readonly (readonly [number, RepairEvent])[]): string[] {
  return events.flatMap(([at, event]) => machine.handle(event, at).map((effect) => `${at} ${text(effect)}`));
}

function text(effect: RepairEffect): string {
  if (effect.type === 'tunnel') return `tunnel to ${effect.twin}: ${effect.source} > ${effect.destination}`;
  if (effect.type === 'install') return `install ${effect.host.address} by ${effect.host.interface}, ${effect.twin}`;
  if (effect.type === 'inUse') return `${effect.address} in use`;
  return `remove ${effect.address}: ${effect.ending}`;
}

const ready = (settings: Partial<RepairSettings> = {}): RepairMachine => {
  const machine = new RepairMachine({ ...SETTINGS, ...settings });
  for (const event of [source(OWN), ours(), standsBy()]) machine.handle(event, 0);
  return machine;
};

test('R4.5 a backup is there when the host is ours, somebody stands by and says where, and we have an address', (t) => {
  const needed: RepairEvent[] = [ours(), standsBy(), source(OWN)];
  for (const last of needed) {
    const machine = new RepairMachine(SETTINGS);
    for (const event of needed) if (event !== last) t.false(hasInstall(machine.handle(event, 0)));
    t.true(hasInstall(machine.handle(last, 1)), last.type);
    t.deepEqual(machine.of(HOST), { state: 'ready', twin: B, via: AT_B });
  }
});

const hasInstall = (effects: readonly RepairEffect[]): boolean => effects.some(({ type }) => type === 'install');

test('R4.5 the tunnel is made before the first backup over it, and moves with one effect', (t) => {
  const machine = new RepairMachine(SETTINGS);
  t.deepEqual(
    story(machine, [0, source(OWN)], [0, ours()], [0, ours(OTHER, 11)], [1, standsBy()], [1, standsBy(OTHER)]),
    [
      '1 tunnel to 10.255.0.2: 192.0.2.2 > 192.0.2.6',
      '1 install 10.10.10.2 by A2, 10.255.0.2',
      '1 install 10.10.10.1 by A1, 10.255.0.2',
    ],
  );
  const elsewhere = '192.0.2.10' as Address;
  t.deepEqual(story(machine, [2, standsBy(HOST, B, elsewhere)], [2, standsBy(OTHER, B, elsewhere)]), [
    '2 tunnel to 10.255.0.2: 192.0.2.2 > 192.0.2.10',
  ]);
  t.deepEqual(story(machine, [3, source('192.0.2.14' as Address)]), [
    '3 tunnel to 10.255.0.2: 192.0.2.14 > 192.0.2.10',
  ]);
  t.is(machine.nextDeadline(), undefined);
});

test('R4.5 the server link fails: the backup stays until the twin announces the host, and a second', (t) => {
  const machine = ready();
  t.deepEqual(story(machine, [100, gone()]), ['100 10.10.10.2 in use']);
  t.deepEqual(machine.of(HOST), { state: 'ending', twin: B, via: AT_B });
  t.is(machine.nextDeadline(), 4_100);
  t.deepEqual(story(machine, [140, standsDown()], [140, claims(0)]), []);
  t.is(machine.nextDeadline(), 1_140);
  t.deepEqual(story(machine, [1_139, TIME], [1_140, TIME]), ['1140 remove 10.10.10.2: claimed']);
  t.deepEqual(machine.of(HOST), { state: 'none' });
  t.is(machine.nextDeadline(), undefined);
});

test('R4.5 the server never comes to the other switch: the backup goes after hold and margin', (t) => {
  const machine = ready();
  t.deepEqual(story(machine, [100, gone()], [4_099, TIME], [4_100, TIME]), [
    '100 10.10.10.2 in use',
    '4100 remove 10.10.10.2: unclaimed',
  ]);
});

test('R4.5 the other switch stands by no more: what is sent to it is dropped there, so the backup goes in a second', (t) => {
  const machine = ready();
  t.deepEqual(story(machine, [100, gone()], [200, standsDown()], [1_199, TIME], [1_200, TIME]), [
    '100 10.10.10.2 in use',
    '1200 remove 10.10.10.2: unclaimed',
  ]);
});

test('R4.5 nothing but being wanted again puts the end of a backup off', (t) => {
  const machine = ready();
  machine.handle(gone(), 100);
  machine.handle(claims(0), 150);
  for (const [at, event] of [
    [400, claims(0, HOST, '10.255.0.3')],
    [500, standsDown()],
    [600, standsBy()],
    [700, source(undefined)],
    [800, source(OWN)],
  ] as const) {
    t.deepEqual(machine.handle(event, at), []);
    t.is(machine.nextDeadline(), 1_150, `${at}`);
  }
  machine.handle(ours(), 900);
  machine.handle(TIME, 1_150);
  t.is(machine.of(HOST).state, 'ready', 'the server is back and B stands by');
  t.is(machine.nextDeadline(), undefined);
});

test('R4.5 the twin announced the host and has lost it too: what comes here can wait here, so the backup goes at once', (t) => {
  const machine = ready();
  t.deepEqual(story(machine, [100, gone()], [150, claims(0)], [300, claims(undefined)]), ['100 10.10.10.2 in use']);
  t.is(machine.nextDeadline(), 300);
  t.deepEqual(story(machine, [300, TIME]), ['300 remove 10.10.10.2: claimed']);
});

test('R4.5 the server is back before the gateway had moved: the backup is there without a new route', (t) => {
  const machine = ready();
  t.deepEqual(story(machine, [100, gone()], [150, ours()]), ['100 10.10.10.2 in use']);
  t.is(machine.of(HOST).state, 'ready');
});

test('R4.5 the server is back by another port: the backup is put where its new route is', (t) => {
  const machine = ready();
  t.deepEqual(story(machine, [100, ours(HOST, 13)]), ['100 install 10.10.10.2 by A3, 10.255.0.2']);
});

test('R4.5 nobody stands by for a host that is still ours: its backup goes in a second', (t) => {
  const machine = ready();
  t.deepEqual(story(machine, [100, standsDown()], [1_100, TIME]), ['1100 remove 10.10.10.2: unbacked']);
});

test('R4.5 the last uplink with an address is lost: no backup is ready, and none is left after a second', (t) => {
  const machine = ready();
  t.deepEqual(story(machine, [100, source(undefined)]), []);
  t.is(machine.of(HOST).state, 'ending');
  t.deepEqual(story(machine, [1_100, TIME], [2_000, source(OWN)]), [
    '1100 remove 10.10.10.2: unbacked',
    '2000 install 10.10.10.2 by A2, 10.255.0.2',
  ]);
});

test('R4.5 a gateway that shows the best route alone: who says where a tunnel finds him stands by for all of ours', (t) => {
  const machine = new RepairMachine(SETTINGS);
  const others = '10.10.10.4' as Address;
  t.deepEqual(story(machine, [0, source(OWN)], [0, ours()], [1, claims(0, others)]), [
    '1 tunnel to 10.255.0.2: 192.0.2.2 > 192.0.2.6',
    '1 install 10.10.10.2 by A2, 10.255.0.2',
  ]);
  t.deepEqual(story(machine, [100, gone()], [160, standsBy()], [170, standsDown()], [170, claims(0)], [1_170, TIME]), [
    '100 10.10.10.2 in use',
    '1170 remove 10.10.10.2: claimed',
  ]);
  t.deepEqual(story(machine, [2_000, ours(OTHER, 11)]), ['2000 install 10.10.10.1 by A1, 10.255.0.2']);
  const gone0 = [claims(undefined, others), claims(undefined)].map((event) => [3_000, event] as const);
  t.deepEqual(story(machine, ...gone0, [3_999, TIME], [4_000, TIME]), ['4000 remove 10.10.10.1: unbacked']);
});

test('R4.5 of several that are heard nobody is taken for the other switch of the pair, unless he is named', (t) => {
  const third: RepairEvent = { type: 'claim', claim: { address: OTHER, level: 0, from: '10.255.0.3', endpoint: OWN } };
  const events = [source(OWN), ours(), third, claims(0, '10.10.10.4' as Address)].map((event) => [0, event] as const);
  const alone = new RepairMachine(SETTINGS);
  story(alone, ...events);
  t.is(alone.of(HOST).state, 'ending');
  const named = new RepairMachine({ ...SETTINGS, twin: B as Address });
  story(named, ...events);
  t.deepEqual(named.of(HOST), { state: 'ready', twin: B, via: AT_B });
});

test('R4.5 one of two that stand by is gone: the other one takes over', (t) => {
  const machine = ready();
  const third = '10.255.0.3';
  t.deepEqual(story(machine, [1, standsBy(HOST, third, '192.0.2.10' as Address)], [2, standsDown()]), [
    '2 tunnel to 10.255.0.3: 192.0.2.2 > 192.0.2.10',
    '2 install 10.10.10.2 by A2, 10.255.0.3',
  ]);
});

test('R4.5 an end of a tunnel by IPv6 is none for us', (t) => {
  const machine = new RepairMachine(SETTINGS);
  const endpoint = '2001:db8::6' as Address;
  t.deepEqual(story(machine, [0, source(OWN)], [0, ours()], [0, standsBy(HOST, B, endpoint)]), []);
  t.is(machine.counters().notIpv4, 1);
});

test('R4.5 killed and started again: what an earlier life left is wanted again or gone, in hold and margin', (t) => {
  const machine = new RepairMachine(SETTINGS);
  t.deepEqual(story(machine, [0, { type: 'adopted', addresses: [HOST, OTHER] }]), []);
  t.is(machine.nextDeadline(), 4_000);
  t.deepEqual(story(machine, [500, source(OWN)], [600, ours()], [900, standsBy()]), [
    '900 tunnel to 10.255.0.2: 192.0.2.2 > 192.0.2.6',
    '900 install 10.10.10.2 by A2, 10.255.0.2',
  ]);
  t.deepEqual(story(machine, [4_000, TIME], [9_000, TIME]), ['4000 remove 10.10.10.1: left over']);
  t.is(machine.of(HOST).state, 'ready');
});

test('R4.5 killed in the midst of a repair: the twin announces the host by now, and the backup goes in a second', (t) => {
  const machine = new RepairMachine(SETTINGS);
  t.deepEqual(story(machine, [0, { type: 'adopted', addresses: [HOST] }], [300, claims(0)], [1_300, TIME]), [
    '1300 remove 10.10.10.2: claimed',
  ]);
});

test('R4.5 what the fabric says of strangers is kept within limits', (t) => {
  const machine = new RepairMachine({ ...SETTINGS, limit: 2 });
  for (let last = 1; last <= 5; last++) machine.handle(standsBy(`10.10.10.${last}` as Address), 0);
  t.is(machine.counters().overLimit, 3);
  machine.handle(standsDown('10.10.10.1' as Address), 1);
  machine.handle(standsBy('10.10.10.5' as Address), 2);
  t.is(machine.counters().overLimit, 3, 'who went has left room');
});

const addresses = [HOST, OTHER, '2001:db8:10::2' as Address];
const anAddress = fc.constantFrom(...addresses);
const aSwitch = fc.constantFrom(B, '10.255.0.3');
const anEvent: fc.Arbitrary<RepairEvent> = fc.oneof(
  anAddress.map((address) => ours(address)),
  anAddress.map((address) => ours(address, 14)),
  anAddress.map((address) => gone(address)),
  fc
    .tuple(anAddress, aSwitch, fc.constantFrom(AT_B, '192.0.2.10' as Address, undefined))
    .map(([address, from, at]) => standsBy(address, from, at)),
  fc.tuple(anAddress, aSwitch).map(([address, from]) => standsDown(address, from)),
  fc
    .tuple(fc.constantFrom(0, undefined), anAddress, aSwitch)
    .map(([level, address, from]) => claims(level as 0 | undefined, address, from)),
  fc.constantFrom(OWN, undefined).map(source),
  fc.constant(TIME),
  fc.subarray(addresses).map((left): RepairEvent => ({ type: 'adopted', addresses: left })),
);

/** What an observer who knows nothing of the machine's insides can tell. */
class Observer {
  readonly installed = new Set<Address>();
  readonly ours = new Set<Address>();
  readonly standby = new Map<Address, Set<string>>();
  readonly claimed = new Map<Address, Set<string>>();
  /** Who says where a tunnel finds him, and of what: `shadow 10.10.10.2`. */
  readonly said = new Map<string, Set<string>>();
  readonly tunnels = new Set<string>();
  readonly unwantedSince = new Map<Address, number>();
  /** When it was neither ours nor unclaimed first, while unwanted. */
  readonly overSince = new Map<Address, number>();
  readonly twin: Address | undefined;
  source: Address | undefined;

  constructor(twin: Address | undefined) {
    this.twin = twin;
  }

  see(event: RepairEvent, effects: readonly RepairEffect[], now: number): string | undefined {
    if (event.type === 'ours') this.ours.add(event.host.address);
    else if (event.type === 'gone') this.ours.delete(event.address);
    else if (event.type === 'source') this.source = event.address;
    else if (event.type === 'claim') {
      this.#said('claim', event.claim.from, event.claim.address, event.claim.level !== undefined);
      put(this.claimed, event.claim.address, event.claim.from, event.claim.level !== undefined);
    } else if (event.type === 'shadow') {
      put(this.standby, event.shadow.address, event.shadow.from, event.shadow.up);
      this.#said(
        'shadow',
        event.shadow.from,
        event.shadow.address,
        event.shadow.up && event.shadow.endpoint !== undefined,
      );
    } else if (event.type === 'adopted') for (const address of event.addresses) this.installed.add(address);
    for (const effect of effects) {
      if (effect.type === 'tunnel') this.tunnels.add(effect.twin);
      else if (effect.type === 'install') {
        if (!this.tunnels.has(effect.twin)) return `a backup over a tunnel to ${effect.twin} that was never made`;
        this.installed.add(effect.host.address);
      } else if (effect.type === 'remove' && !this.installed.delete(effect.address))
        return `${effect.address} removed twice`;
    }
    for (const address of addresses) {
      const wanted = this.#wanted(address);
      if (wanted && !this.installed.has(address)) return `${address} is wanted and has no backup`;
      if (wanted || !this.installed.has(address)) {
        this.unwantedSince.delete(address);
        this.overSince.delete(address);
        continue;
      }
      if (!this.unwantedSince.has(address)) this.unwantedSince.set(address, now);
      const over = !this.ours.has(address) && (this.claimed.get(address)?.size ?? 0) > 0;
      if (over && !this.overSince.has(address)) this.overSince.set(address, now);
    }
    return undefined;
  }

  late(now: number): string | undefined {
    for (const [address, since] of this.unwantedSince) {
      if (now >= since + SETTINGS.hold + SETTINGS.margin) return `${address} unwanted since ${since} stands at ${now}`;
    }
    for (const [address, since] of this.overSince) {
      if (now >= since + SETTINGS.margin) return `${address} announced elsewhere since ${since} stands at ${now}`;
    }
    return undefined;
  }

  #wanted(address: Address): boolean {
    const heard = [...this.said].filter(([, words]) => words.size > 0).map(([from]) => from);
    const standing = heard.some((from) => this.said.get(from)!.has(`shadow ${address}`));
    const implied = this.twin === undefined ? heard.length === 1 : heard.includes(this.twin);
    return this.ours.has(address) && (standing || implied) && this.source !== undefined;
  }

  #said(what: 'claim' | 'shadow', from: string, address: Address, there: boolean): void {
    const words = this.said.get(from) ?? new Set();
    this.said.set(from, words);
    if (there) words.add(`${what} ${address}`);
    else words.delete(`${what} ${address}`);
  }
}

function put(map: Map<Address, Set<string>>, address: Address, from: string, there: boolean): void {
  const set = map.get(address) ?? new Set();
  map.set(address, set);
  if (there) set.add(from);
  else set.delete(from);
}

test('R4.5 whatever happens, and whenever the agent is killed, no backup outlives its margin (1,000 stories)', (t) => {
  const steps = fc.array(fc.tuple(fc.integer({ min: 0, max: 1_500 }), anEvent, fc.integer({ min: 0, max: 19 })), {
    minLength: 1,
    maxLength: 60,
  });
  fc.assert(
    fc.property(steps, fc.constantFrom(undefined, B as Address), (story, twin) => {
      const settings = { ...SETTINGS, twin };
      let machine = new RepairMachine(settings);
      let observer = new Observer(twin);
      let now = 0;
      const happen = (event: RepairEvent): void => {
        const wrong = observer.see(event, machine.handle(event, now), now);
        if (wrong) throw new Error(wrong);
      };
      const until = (end: number): void => {
        for (let at = machine.nextDeadline(); at !== undefined && at <= end; at = machine.nextDeadline()) {
          now = Math.max(now, at);
          happen(TIME);
          const late = observer.late(now);
          if (late) throw new Error(late);
        }
        now = end;
      };
      for (const [wait, event, fate] of story) {
        until(now + wait);
        happen(event);
        if (fate > 0) continue;
        // Killed: the next life finds the kernel's backups, and nothing of what was heard.
        const left = [...observer.installed];
        machine = new RepairMachine(settings);
        observer = new Observer(twin);
        happen({ type: 'adopted', addresses: left });
      }
      until(now + 10_000);
      const late = observer.late(now);
      if (late) throw new Error(late);
    }),
    { numRuns: 1_000 },
  );
  t.pass();
});
