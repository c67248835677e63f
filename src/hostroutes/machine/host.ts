import type { Address, Mac } from '../../model/address.ts';
import type { Instant } from '../../model/clock.ts';
import type { ClaimLevel, HostRoute } from '../../model/hosts.ts';
import type { Line, Sleeper } from './deadlines.ts';
import type { Evidence, Heard, HostState, Source } from './types.ts';

/** From the most to the least trusted; the index is the rank. */
export const SOURCES: readonly Source[] = ['static', 'bgp', 'kernel', 'arp', 'neighbour'];
export const RANK: Readonly<Record<Source, number>> = { static: 0, bgp: 1, kernel: 2, arp: 3, neighbour: 4 };

/** Why a host is being asked whether it is there. */
export type Asking = 'no' | 'routine' | 'verify' | 'rival';

/** What an announcer needs to know of a place. */
export type Place = Pick<Heard, 'mac' | 'port' | 'interface' | 'ifindex' | 'vlan'>;

/**
 * One address. `route` is what ought to be announced, `advertised` what the announcers were last told; a turn ends by
 * making them equal. A host that left keeps its record for a while, with the memory of its moves.
 */
export class Host implements Sleeper {
  readonly address: Address;
  mac: Mac;
  port: string;
  interface: string;
  ifindex: number;
  vlan: number | undefined;

  state: HostState = 'gone';
  reason = '';
  /** false: it has been in no state yet. */
  knownBefore = false;
  level: ClaimLevel = 0;
  route: HostRoute | undefined;
  advertised: HostRoute | undefined;
  dirty = false;

  since: Instant = 0;
  heardAt: Instant = 0;
  /** Indexed by rank; -1: this source does not vouch. */
  readonly heardBy: number[] = [-1, -1, -1, -1, -1];
  /** Likewise: by what. */
  readonly evidence: (Evidence | undefined)[] = [undefined, undefined, undefined, undefined, undefined];

  asking: Asking = 'no';
  attempts = 0;
  askAt: Instant = 0;
  verifiedAt: Instant = Number.NEGATIVE_INFINITY;
  /** 0 to 1: by how much of what it may be early its next question is, so that hosts heard together are not asked together. */
  spread = 0;
  /** Which of the rounds of routine questions are those of its port. */
  turn = 0;

  /** A rival claim at least as strong as ours is present. */
  contested = false;
  /** Since when such a rival has been seen without a break. */
  rivalSince: Instant = Number.POSITIVE_INFINITY;
  /** It answers here, and is claimed elsewhere: an address that two machines have. */
  claimedTwice = false;
  settleAt: Instant = Number.POSITIVE_INFINITY;
  /** Our own servers reach it through the fabric, see yielding.ts. */
  yields = false;

  moves = 0;
  movesSince: Instant = Number.NEGATIVE_INFINITY;
  hold = 0;
  heldUntil: Instant = Number.NEGATIVE_INFINITY;
  /** Where else it was heard last, or taken to be before. */
  elsewhere: Heard | undefined;
  elsewhereAt: Instant = 0;

  /** Where it was before somebody claimed it, see takeovers.ts. */
  incumbent: Heard | undefined;
  incumbentUntil: Instant = Number.NEGATIVE_INFINITY;
  /** It has answered where it is taken to be since it was claimed. */
  proven = false;
  /** A claim of it was refuted: until then it is asked where it is before another one is believed. */
  refutedUntil: Instant = Number.NEGATIVE_INFINITY;
  /** A doubt that came too soon after the last one. */
  doubtAt: Instant = Number.POSITIVE_INFINITY;

  /** It came back to its port by itself when the port came up; false: it stayed away. */
  returns: boolean | undefined;

  /** The set that remembers it while gone. */
  memory: Set<Host> | undefined;

  /** Neighbours in the list of its MAC. Owned by Stations. */
  station: Mac | undefined;
  nextOfStation: Host | undefined;
  previousOfStation: Host | undefined;

  wakeAt: Instant = 0;
  line: Line | undefined;
  nextInLine: Host | undefined;
  previousInLine: Host | undefined;

  constructor(address: Address, place: Place) {
    this.address = address;
    this.mac = place.mac;
    this.port = place.port;
    this.interface = place.interface;
    this.ifindex = place.ifindex;
    this.vlan = place.vlan;
  }

  /** Behind a port of ours. */
  get live(): boolean {
    return this.state !== 'gone' && this.state !== 'shadow';
  }

  place(place: Place): void {
    this.mac = place.mac;
    this.port = place.port;
    this.interface = place.interface;
    this.ifindex = place.ifindex;
    this.vlan = place.vlan;
  }

  /** Rank of the best source that vouches, SOURCES.length when none does. */
  rank(): number {
    const index = this.heardBy.findIndex((at) => at >= 0);
    return index < 0 ? SOURCES.length : index;
  }

  /**
   * A server's own announcement or a kernel route is alive as long as its session or table says so, and the address
   * need not answer ARP at all.
   */
  get answersProbes(): boolean {
    return this.heardBy[RANK.bgp]! < 0 && this.heardBy[RANK.kernel]! < 0;
  }

  makeRoute(): HostRoute {
    return {
      address: this.address,
      interface: this.interface,
      ifindex: this.ifindex,
      mac: this.mac,
      level: this.level,
      ...(this.yields ? { yields: true } : {}),
    };
  }
}
