/**
 * What of the map outlives the process: one JSON value for each thing, so that a large map is written piece by piece.
 * Ports are kept as the facts that told of them.
 */
import { z } from 'zod';
import { type Address, parseAddress } from '../../model/address.ts';
import { decodeFact, encodeFact } from '../codec/index.ts';
import type { PortMap } from './map.ts';
import { newHost, newPlace } from './places.ts';
import { PortRecord, SwitchRecord } from './switches.ts';
import type { HistoryEntry, Moment } from './types.ts';

export const VERSION = 1;

const address = z.string().transform((text, context): Address => {
  const parsed = parseAddress(text);
  if (!parsed) context.addIssue('not an address');
  return parsed ?? z.NEVER;
});
const octets = z.base64().transform((text) => new Uint8Array(Buffer.from(text, 'base64')));
const portState = z.enum(['up', 'down', 'shut']);
const placeState = z.enum(['up', 'unheard', 'standby', 'shadow', 'down']);
const switchState = z.enum(['heard', 'lost']);
const text = z.string();
const time = z.number();

const entry = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('host'),
    at: time,
    routerId: address,
    switchName: text,
    address,
    port: text.optional(),
    uplink: text.optional(),
    gatewayPort: text.optional(),
    from: placeState.optional(),
    to: placeState,
    why: text,
  }),
  z.object({
    kind: z.literal('port'),
    at: time,
    routerId: address,
    switchName: text,
    port: text,
    role: z.enum(['uplink', 'downlink']),
    from: portState.optional(),
    to: portState,
    why: text,
  }),
  z.object({ kind: z.literal('switch'), at: time, routerId: address, switchName: text, to: switchState, why: text }),
  z.object({ kind: z.literal('gateway'), at: time, port: text, to: z.enum(['up', 'down']), why: text }),
]);

const place = z.object({
  routerId: address,
  ifindex: z.number().optional(),
  state: placeState,
  since: time,
  why: text,
});

const thing = z.discriminatedUnion('thing', [
  z.object({ thing: z.literal('switch'), routerId: address, state: switchState, since: time, why: text }),
  z.object({
    thing: z.literal('port'),
    key: octets,
    value: octets,
    gone: z.object({ at: time, reason: text }).optional(),
  }),
  z.object({ thing: z.literal('host'), address, places: z.array(place) }),
  z.object({ thing: z.literal('here'), port: text, up: z.boolean(), since: time, why: text }),
  z.object({ thing: z.literal('event'), entry }),
]);

type Thing = z.input<typeof thing>;

/** In an order in which it can be taken up again. Goes on while the map changes. */
export function* remembered(map: PortMap): Generator<Thing> {
  for (const { port, up, since, why } of map.ports.all()) yield { thing: 'here', port, up, since, why };
  for (const { routerId, state, since, why, ports } of map.switches.all()) {
    yield { thing: 'switch', routerId, state, since, why };
    for (const { fact, gone } of ports.values()) {
      const { key, value } = encodeFact(fact);
      yield { thing: 'port', key: base64(key), value: base64(value), ...(gone ? { gone } : {}) };
    }
  }
  for (const { address, places } of map.hosts.all()) {
    const told = places.filter(({ why }) => why !== '');
    if (told.length === 0) continue;
    yield {
      thing: 'host',
      address,
      places: told.map(({ routerId, ifindex, state, since, why }) => ({
        routerId,
        ...(ifindex === undefined ? {} : { ifindex }),
        state,
        since,
        why,
      })),
    };
  }
  for (const entry of map.history.all()) yield { thing: 'event', entry };
}

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');

/**
 * Puts what an earlier life knew into a map that has heard nothing yet.
 *
 * @returns how many of the values could not be used
 */
export function recall(map: PortMap, values: readonly unknown[], { now, wall }: Moment): number {
  let unusable = 0;
  for (const value of values) {
    const parsed = thing.safeParse(value);
    if (!parsed.success || !takeUp(map, parsed.data, { now, wall })) unusable++;
  }
  map.restored(now);
  return unusable;
}

function takeUp(map: PortMap, known: z.output<typeof thing>, { now, wall }: Moment): boolean {
  switch (known.thing) {
    case 'here':
      map.ports.restore({ port: known.port, up: known.up, since: known.since, why: known.why, prefixes: [] });
      return true;
    case 'switch': {
      const owner = new SwitchRecord(known.routerId, known.since);
      owner.state = known.state;
      owner.told = known.state;
      owner.why = known.why;
      owner.old = true;
      return map.switches.restore(owner);
    }
    case 'port': {
      const fact = decodeFact(known.key, known.value);
      const owner = typeof fact === 'string' ? undefined : map.switches.get(fact.routerId);
      if (typeof fact === 'string' || !owner) return false;
      const port = new PortRecord(owner, fact);
      port.gone = known.gone;
      port.old = known.gone === undefined;
      port.told = port.view().state;
      return map.switches.restorePort(port);
    }
    case 'host': {
      const host = newHost(known.address);
      for (const { routerId, ifindex, state, since, why } of known.places) {
        const place = newPlace(routerId, ifindex, wall, now);
        Object.assign(place, { state, since, why, old: true, changedAt: Number.NEGATIVE_INFINITY });
        host.places.push(place);
      }
      return map.hosts.restore(host);
    }
    case 'event':
      map.history.add(known.entry as HistoryEntry);
      return true;
  }
}
