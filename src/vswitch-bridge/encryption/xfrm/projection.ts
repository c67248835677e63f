/**
 * From what the agent wants of one peer to the kernel's SAs and policies, and from one such picture to the next, as steps in their
 * order. Pure.
 *
 * Order
 * - `first`, before any control packet: what comes in under a new key must be readable before the peer hears that we hold it; and
 *   whatever is to leave no more, stops.
 * - `later`, behind them: the new outbound SA, the policy that names it, and only now the old ones go.
 *
 * Invariants
 * - No policy ever lets VXLAN to or from a peer pass without ESP: a template, or BLOCK; and what has no peer meets a BLOCK for all.
 * - An outbound SA lives on, with its sequence numbers, for as long as its version can be read by us: an end that goes back to a
 *   version goes on counting where it was. What has been deleted is never made again under the same key (RFC 4106 §2).
 */
import type { Address } from '../../../model/address.ts';
import type { Association } from './codec/association.ts';
import type { Policy, PolicyId } from './codec/policy.ts';
import { IPPROTO_UDP, type Mark, type SaId, type Selector } from './codec/structures.ts';

/** VXLAN's port: what the kernel's tunnels send and take. */
export const VXLAN_PORT = 4789;
/** All SAs and templates of ours have it. */
export const REQID = 0x504c5301;
const WINDOW = 1024;
const PRIORITY = { peer: 0x4000, all: 0x8000 } as const;
const ANY_PACKET: Mark = { value: 0, mask: 0xffffffff };

export interface Ends {
  readonly local: Address;
  /** UDP port of ESP, the same on all hosts. */
  readonly port: number;
}

/** A peer as the agent has set it. */
export interface PeerWish {
  readonly address: Address;
  /** What its packets are marked with when they come in: SPIs of two peers may be the same. */
  readonly mark: number;
  /** SPI → key, by an identity that says nothing of its octets. */
  readonly receive: ReadonlyMap<number, string>;
  /** All that it was ever told to send under, and that is still of use. */
  readonly outbound: ReadonlyMap<number, string>;
  /** The SPI that data leaves under; undefined: it doesn't. */
  readonly current: number | undefined;
}

/** What stands in the kernel of it. */
export interface PeerPicture {
  readonly inbound: ReadonlyMap<number, string>;
  readonly outbound: ReadonlyMap<number, string>;
  readonly current: number | undefined;
}

/** Policies that let nothing pass. */
export const NO_PICTURE: PeerPicture = { inbound: new Map(), outbound: new Map(), current: undefined };

export type Direction = 'in' | 'out';

export type Step =
  | { readonly op: 'add-sa' | 'delete-sa'; readonly direction: Direction; readonly spi: number }
  /** Without an SPI: nothing leaves. */
  | { readonly op: 'outbound-policy'; readonly spi: number | undefined }
  | { readonly op: 'inbound-policy' }
  | { readonly op: 'delete-policies' };

/** The version and the short fingerprint: what the SPIs of one key have in common in every life. */
export const keyBits = (spi: number): number => (spi >>> 8) & 0xfffff;

export function project({ receive, outbound, current }: Omit<PeerWish, 'address' | 'mark'>): PeerPicture {
  const readable = new Set([...receive.keys()].map(keyBits));
  return {
    inbound: new Map(receive),
    outbound: new Map([...outbound].filter(([spi]) => spi === current || readable.has(keyBits(spi)))),
    current,
  };
}

export interface Plan {
  readonly first: readonly Step[];
  readonly later: readonly Step[];
}

/** undefined: there is nothing of the peer, or is to be nothing. */
export function plan(before: PeerPicture | undefined, after: PeerPicture | undefined): Plan {
  if (!after) {
    if (!before) return { first: [], later: [] };
    return {
      first: [
        // What has no peer meets the policy that blocks all.
        { op: 'delete-policies' },
        ...deletions('out', before.outbound.keys()),
        ...deletions('in', before.inbound.keys()),
      ],
      later: [],
    };
  }
  const first: Step[] = [];
  const later: Step[] = [];
  const was = before ?? NO_PICTURE;
  if (!before) first.push({ op: 'inbound-policy' }, { op: 'outbound-policy', spi: undefined });
  // One SPI, another key: for a moment there is none.
  const replacedOut = changed(was.outbound, after.outbound);
  const stops = was.current !== undefined && (after.current === undefined || replacedOut.includes(was.current));
  if (stops) first.push({ op: 'outbound-policy', spi: undefined });
  const replacedIn = changed(was.inbound, after.inbound);
  first.push(...deletions('in', replacedIn));
  first.push(...additions('in', [...missing(after.inbound, was.inbound), ...replacedIn]));

  later.push(...deletions('out', replacedOut));
  later.push(...additions('out', [...missing(after.outbound, was.outbound), ...replacedOut]));
  const standing = stops ? undefined : was.current;
  if (after.current !== standing) later.push({ op: 'outbound-policy', spi: after.current });
  later.push(...deletions('out', missing(was.outbound, after.outbound)));
  later.push(...deletions('in', missing(was.inbound, after.inbound)));
  return { first, later };
}

/** When it can't be carried out: nothing leaves, and no SA stays. */
export const abandon = (picture: PeerPicture = NO_PICTURE): readonly Step[] => [
  { op: 'outbound-policy', spi: undefined },
  ...deletions('out', picture.outbound.keys()),
  ...deletions('in', picture.inbound.keys()),
];

type Sas = ReadonlyMap<number, string>;
const missing = (from: Sas, there: Sas): number[] => [...from.keys()].filter((spi) => !there.has(spi));
const changed = (was: Sas, is: Sas): number[] =>
  [...is].filter(([spi, key]) => was.has(spi) && was.get(spi) !== key).map(([spi]) => spi);
const additions = (direction: Direction, spis: Iterable<number>): Step[] =>
  [...spis].map((spi) => ({ op: 'add-sa', direction, spi }));
const deletions = (direction: Direction, spis: Iterable<number>): Step[] =>
  [...spis].map((spi) => ({ op: 'delete-sa', direction, spi }));

// ------------------------------------------------------------------ what the steps mean to the kernel

type Peer = Pick<PeerWish, 'address' | 'mark'>;

export function associationOf(
  ends: Ends,
  { address, mark }: Peer,
  direction: Direction,
  spi: number,
  key: Uint8Array,
): Association {
  const { local, port } = ends;
  const common = {
    spi,
    reqid: REQID,
    key,
    window: WINDOW,
    sequence: { sent: 0n, received: 0n },
    encapsulation: { sourcePort: port, destinationPort: port },
    selector: selectorOf(ends, address, direction),
  };
  return direction === 'out'
    ? { ...common, source: local, destination: address }
    : // Behind ESP the mark has done its work, and would mean something else to others.
      { ...common, source: address, destination: local, mark: { value: mark, mask: 0xffffffff }, setMark: ANY_PACKET };
}

export const associationId = ({ local }: Ends, { address, mark }: Peer, direction: Direction, spi: number): SaId =>
  direction === 'out'
    ? { destination: address, spi }
    : { destination: local, spi, mark: { value: mark, mask: 0xffffffff } };

/** VXLAN from one end to the other: the SA of one peer lets nothing pass that says it is of another. */
const selectorOf = ({ local }: Ends, address: Address, direction: Direction): Selector => ({
  source: host(direction === 'out' ? local : address),
  destination: host(direction === 'out' ? address : local),
  protocol: IPPROTO_UDP,
  destinationPort: VXLAN_PORT,
});

const host = (address: Address) => ({ address, length: address.includes(':') ? 128 : 32 });

export function outboundPolicy(ends: Ends, { address }: Peer, spi: number | undefined): Policy {
  const { local } = ends;
  return {
    direction: 'out',
    selector: selectorOf(ends, address, 'out'),
    priority: PRIORITY.peer,
    ...(spi === undefined ? {} : { template: { source: local, destination: address, spi, reqid: REQID } }),
  };
}

export const inboundPolicy = (ends: Ends, { address }: Peer): Policy => ({
  direction: 'in',
  selector: selectorOf(ends, address, 'in'),
  priority: PRIORITY.peer,
  template: { source: address, destination: ends.local, spi: 0, reqid: REQID },
});

export const policyIds = (ends: Ends, { address }: Peer): readonly PolicyId[] => [
  { direction: 'out', selector: selectorOf(ends, address, 'out') },
  { direction: 'in', selector: selectorOf(ends, address, 'in') },
];

/** VXLAN of ours to and from everybody: dropped. */
export function blockAll({ local }: Ends): readonly Policy[] {
  const any = { address: (local.includes(':') ? '::' : '0.0.0.0') as Address, length: 0 };
  return (['out', 'in'] as const).map((direction) => ({
    direction,
    selector: {
      source: direction === 'out' ? host(local) : any,
      destination: direction === 'out' ? any : host(local),
      protocol: IPPROTO_UDP,
      destinationPort: VXLAN_PORT,
    },
    priority: PRIORITY.all,
  }));
}

/** The peer that a policy is of; `all`: of none in particular; undefined: it is not ours. */
export function peerOfPolicy(ends: Ends, policy: Policy): Address | 'all' | undefined {
  const peer = peerOfSelector(ends, policy);
  return policy.priority === (peer === 'all' ? PRIORITY.all : PRIORITY.peer) ? peer : undefined;
}

/** As `peerOfPolicy`, of a policy that has gone. */
export function peerOfSelector({ local }: Ends, { selector, direction }: PolicyId): Address | 'all' | undefined {
  const { source, destination, protocol, destinationPort } = selector;
  const [own, other] = direction === 'out' ? [source, destination] : [destination, source];
  if (protocol !== IPPROTO_UDP || destinationPort !== VXLAN_PORT || own.address !== local) return undefined;
  return other.length === 0 ? 'all' : other.address;
}
