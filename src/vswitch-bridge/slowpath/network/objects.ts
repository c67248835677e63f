/**
 * What the layout consists of, one value for each object in the kernel: the same whether it is wanted or was found, so
 * that the two can be compared. Devices are named, since their numbers come with their making.
 */
import type { Address, Mac, Prefix } from '../../../model/address.ts';

export interface BridgeObject {
  readonly kind: 'bridge';
  readonly name: string;
  readonly mac: Mac;
  /** 0: it is down. */
  readonly mtu: number;
}

export interface TunnelObject {
  readonly kind: 'tunnel';
  readonly name: string;
  readonly type: 'vxlan' | 'geneve' | 'gretap' | 'ipip';
  /** Absent: it carries no Ethernet (ipip). */
  readonly bridge?: string;
  readonly vni: number;
  /** Absent where the device does not say (geneve). */
  readonly local?: Address;
  /** Absent: the forwarding database says. */
  readonly remote?: Address;
  /** 0: it is down. */
  readonly mtu: number;
}

/** A device that another makes, in a bridge: an instance's, or the packet worker's TAP. */
export interface PortObject {
  readonly kind: 'port';
  readonly device: string;
  readonly bridge: string;
  /** Absent: its own affair. */
  readonly mtu?: number;
}

export interface AddressObject {
  readonly kind: 'address';
  readonly device: string;
  readonly address: Address;
  readonly length: number;
}

/** Of the tunnel device itself: frames for `mac` go to the host `to`. */
export interface TunnelEntryObject {
  readonly kind: 'tunnel-entry';
  readonly device: string;
  readonly mac: Mac;
  readonly to: Address;
}

/** Frames for no known address go to every host that has one such; for any other there is one place. */
export const leadsEverywhere = ({ mac }: TunnelEntryObject): boolean => mac === '00:00:00:00:00:00';

/** Of the bridge: `mac` is behind this port, whoever claims it elsewhere. */
export interface BridgeEntryObject {
  readonly kind: 'bridge-entry';
  readonly device: string;
  readonly mac: Mac;
}

export interface NeighbourObject {
  readonly kind: 'neighbour';
  readonly device: string;
  readonly address: Address;
  readonly mac: Mac;
}

export interface RouteObject {
  readonly kind: 'route';
  readonly table: number;
  readonly destination: Prefix;
  readonly metric: number;
  /** Absent: unreachable. */
  readonly device?: string;
  readonly via?: Address;
  /** Largest packet that is sent by it; absent: the device's. */
  readonly mtu?: number;
}

export interface RuleObject {
  readonly kind: 'rule';
  readonly family: 4 | 6;
  readonly priority: number;
  /** 0: what matches is unreachable. */
  readonly table: number;
  readonly input?: string;
  readonly notInput?: string;
  readonly output?: string;
  readonly source?: Prefix;
  readonly mark?: number;
}

export type LayoutObject =
  | BridgeObject
  | TunnelObject
  | PortObject
  | AddressObject
  | TunnelEntryObject
  | BridgeEntryObject
  | NeighbourObject
  | RouteObject
  | RuleObject;

/** Each comes after what it stands on. */
export const ORDER: readonly LayoutObject['kind'][] = [
  'bridge',
  'tunnel',
  'port',
  'address',
  'neighbour',
  'tunnel-entry',
  'bridge-entry',
  'route',
  'rule',
];

/** Two objects of one key can't stand beside each other. */
export function keyOf(object: LayoutObject): string {
  switch (object.kind) {
    case 'bridge':
    case 'tunnel':
      return `link ${object.name}`;
    case 'port':
      return `port ${object.device}`;
    case 'address':
      return `address ${object.device} ${object.address}/${object.length}`;
    case 'tunnel-entry':
      return `tunnel-entry ${object.device} ${object.mac} ${object.to}`;
    case 'bridge-entry':
      return `bridge-entry ${object.device} ${object.mac}`;
    case 'neighbour':
      return `neighbour ${object.device} ${object.address}`;
    case 'route':
      return `route ${object.table} ${object.destination} ${object.metric}`;
    case 'rule': {
      const { family, priority, table, input, notInput, output, source, mark } = object;
      return `rule ${family} ${priority} ${table} ${input ?? ''} ${notInput ?? ''} ${output ?? ''} ${source ?? ''} ${mark ?? ''}`;
    }
  }
}

/** The device that the object goes away with. */
export function deviceOf(object: LayoutObject): string | undefined {
  switch (object.kind) {
    case 'bridge':
    case 'tunnel':
      return object.name;
    case 'rule':
      return undefined;
    default:
      return object.device;
  }
}

export function sameObject(one: LayoutObject, other: LayoutObject): boolean {
  const a = one as unknown as Record<string, unknown>;
  const b = other as unknown as Record<string, unknown>;
  for (const name of Object.keys(a)) if (a[name] !== b[name]) return false;
  for (const name of Object.keys(b)) if (a[name] !== b[name]) return false;
  return true;
}

export type ObjectMap = ReadonlyMap<string, LayoutObject>;

export const byKey = (objects: Iterable<LayoutObject>): Map<string, LayoutObject> => {
  const map = new Map<string, LayoutObject>();
  for (const object of objects) map.set(keyOf(object), object);
  return map;
};

export interface Difference {
  readonly write: readonly LayoutObject[];
  readonly remove: readonly LayoutObject[];
}

/** From `before` to `after`: what is written stands under a key anew or otherwise; each in the order it is to be done. */
export function difference(before: ObjectMap, after: ObjectMap): Difference {
  const write: LayoutObject[] = [];
  const remove: LayoutObject[] = [];
  for (const [key, object] of after) {
    const was = before.get(key);
    if (!was || !sameObject(was, object)) write.push(object);
  }
  for (const [key, object] of before) if (!after.has(key)) remove.push(object);
  const rank = ({ kind }: LayoutObject): number => ORDER.indexOf(kind);
  write.sort((a, b) => rank(a) - rank(b));
  remove.sort((a, b) => rank(b) - rank(a));
  return { write, remove };
}
