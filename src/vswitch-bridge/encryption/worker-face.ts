/**
 * What the agent and the packet worker say to each other; docs/encryption.md has the semantics of each entry to the bit.
 *
 * The worker owns packets, sequence numbers and replay windows; the agent owns everything else. A table outlives the agent: a
 * restarted one opens it again and finds its peers in `adopted`.
 */
import type { Address, Mac } from '../../model/address.ts';

/** Number of an entry. It is not used again in the life of a table. */
export type PeerIndex = number;

/** 32 octets of AES-256 key, then 4 of GCM salt (RFC 4106 §4). The worker copies it; the caller zeroes its own. */
export type TrafficKey = Uint8Array;

/** What plain packets tell. */
export interface Indication {
  /** 0: the sender has no key. */
  readonly version: number;
  /** Upper 12 bits of the fingerprint. */
  readonly fp12: number;
  /** Encryption off. */
  readonly off: boolean;
}

export type SendState =
  | { readonly mode: 'encrypt'; readonly spi: number; readonly key: TrafficKey }
  | { readonly mode: 'plain'; readonly indication: Indication }
  | { readonly mode: 'hold' }
  | { readonly mode: 'drop' };

export interface PeerTraffic {
  /** Last 64-bit sequence number used. */
  readonly sequence: bigint;
  /** Packets and octets of inner frames, by how they went or came. */
  readonly sent: { readonly encrypted: bigint; readonly plain: bigint; readonly bytes: bigint };
  readonly received: { readonly encrypted: bigint; readonly plain: bigint; readonly bytes: bigint };
  /** Being held now, and dropped from there so far. */
  readonly held: number;
  readonly holdDropped: bigint;
  /** Refused packets by reason, as the doc names them: `no-key`, `forged`, `replayed`, `plain-refused` ... */
  readonly refused: Readonly<Record<string, bigint>>;
  /** ms since; undefined: never. */
  readonly lastSent: number | undefined;
  /** ms since a decrypted packet with inner TCP, and with anything else; undefined: never. */
  readonly lastTcp: number | undefined;
  readonly lastOther: number | undefined;
}

export interface AdoptedPeer {
  readonly peer: PeerIndex;
  readonly address: Address;
  readonly memo: Uint8Array;
  /** SPIs of its receive slots. */
  readonly receive: readonly number[];
}

/** The table in shared memory. All calls are synchronous and cheap; each takes effect between two packets. */
export interface PeerTable {
  /** Entries that an earlier agent has left; empty when the worker is new. */
  readonly adopted: readonly AdoptedPeer[];
  /** Sequence number 0, `send` hold, nothing received. */
  add(address: Address): PeerIndex;
  /** Its keys are zeroed, what was held is dropped. */
  remove(peer: PeerIndex): void;
  setSend(peer: PeerIndex, state: SendState): void;
  /** A slot with an empty replay window, armed; a slot with the same SPI is replaced. At most 32. */
  addReceive(peer: PeerIndex, spi: number, key: TrafficKey): void;
  /** The key is zeroed. */
  removeReceive(peer: PeerIndex, spi: number): void;
  /** The next decrypted packet of the slot raises `readable`. */
  armReceive(peer: PeerIndex, spi: number): void;
  setAcceptPlain(peer: PeerIndex, accept: boolean): void;
  /** At most 128 octets. */
  setMemo(peer: PeerIndex, memo: Uint8Array): void;
  /** From our port to the peer's, as UDP payload. */
  sendControl(peer: PeerIndex, datagram: Uint8Array): void;
  traffic(peer: PeerIndex): PeerTraffic;
  /** Packets that no entry could be found for, and other refusals of the worker as a whole, by reason. */
  refused(): Readonly<Record<string, bigint>>;
}

/** The worker calls these in the agent's event loop. None may throw. */
export interface WorkerEvents {
  /** Encrypted, no slot with this SPI. */
  unreadable(peer: PeerIndex, spi: number): void;
  /** First packet decrypted in a slot since it was armed. */
  readable(peer: PeerIndex, spi: number): void;
  /** A slot's ICV did not fit. */
  forged(peer: PeerIndex, spi: number): void;
  /** A plain packet, delivered or not. */
  plain(peer: PeerIndex, indication: Indication): void;
  /** Something is held that was not before. */
  held(peer: PeerIndex): void;
  control(peer: PeerIndex, datagram: Uint8Array): void;
}

export interface WorkerSettings {
  readonly local: Address;
  /** UDP port of ours and of all peers. */
  readonly port: number;
  readonly plainForm: 'esp' | 'vxlan';
  /** False: no packet leaves or is delivered in plain text, whatever an entry says. */
  readonly plainAllowed: boolean;
  readonly hold: { readonly packets: number; readonly bytes: number; readonly lifetime: number };
}

/** The TAPs that stand in the networks' bridges, and who is behind which peer. */
export interface WorkerNetworks {
  /** Makes the TAP, or changes what is said of it. Rejects when the kernel refuses. */
  setNetwork(network: {
    readonly vni: number;
    readonly device: string;
    readonly bridge?: string;
    /** Frames of this network are taken from members of every other such network too. */
    readonly routed?: boolean;
  }): Promise<void>;
  removeNetwork(vni: number): Promise<void>;
  /** Broadcasts go to the peer, and frames of this network are taken from it. */
  addMember(vni: number, address: Address): void;
  removeMember(vni: number, address: Address): void;
  /** A MAC address that is not to be learned elsewhere. The peer must be in the table. */
  setMac(vni: number, mac: Mac, address: Address): void;
  removeMac(vni: number, mac: Mac): void;
}

/** A packet worker that runs. */
export interface Worker extends WorkerNetworks {
  readonly table: PeerTable;
  /** What an earlier agent has left. */
  readonly networks: readonly { readonly vni: number; readonly device: string }[];
  /** Lets go of it; packets go on. */
  detach(): void;
  /** Ends it: TAPs and keys are gone. */
  stop(): Promise<void>;
}

/** Finds the worker that runs, or starts one. `closed`: it has ended by itself. Rejects when it can't be had. */
export type OpenWorker = (events: WorkerEvents, closed: () => void) => Promise<Worker>;
