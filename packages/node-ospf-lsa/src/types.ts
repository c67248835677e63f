/**
 * OSPFv2 packets and LSAs as plain values (RFC 2328 Appendix A; RFC 3101, RFC 5250).
 * 32-bit ids, addresses and masks are unsigned numbers; ages, intervals are seconds; sequence numbers are signed.
 */

export type U32 = number;

export const PacketType = {
  Hello: 1,
  DatabaseDescription: 2,
  LinkStateRequest: 3,
  LinkStateUpdate: 4,
  LinkStateAck: 5,
} as const;
export type PacketType = (typeof PacketType)[keyof typeof PacketType];

export const LsaType = {
  Router: 1,
  Network: 2,
  SummaryNetwork: 3,
  SummaryAsbr: 4,
  AsExternal: 5,
  Nssa: 7,
  OpaqueLink: 9,
  OpaqueArea: 10,
  OpaqueAs: 11,
} as const;

/** RFC 2328 Appendix B. */
export const MaxAge = 3600;
export const MaxAgeDiff = 900;
export const LSRefreshTime = 1800;
export const MinLSInterval = 5;
export const MinLSArrival = 1;
export const InitialSequenceNumber = -0x7fffffff; // 0x80000001
export const MaxSequenceNumber = 0x7fffffff;
export const LSInfinity = 0xffffff;

/** Options octet, RFC 2328 §A.2, RFC 5250 §A.1. */
export const Options = { E: 0x02, MC: 0x04, NP: 0x08, L: 0x10, DC: 0x20, O: 0x40, DN: 0x80 } as const;

/** Identifies an LSA, not an instance of it (RFC 2328 §12.1). */
export interface LsaKey {
  readonly type: number;
  readonly linkStateId: U32;
  readonly advertisingRouter: U32;
}

export interface LsaHeader extends LsaKey {
  readonly age: number;
  readonly options: number;
  /** Signed 32-bit. */
  readonly sequence: number;
  readonly checksum: number;
  /** Whole LSA, header included. */
  readonly length: number;
}

export const RouterLinkType = { PointToPoint: 1, Transit: 2, Stub: 3, Virtual: 4 } as const;

export interface RouterLink {
  readonly linkId: U32;
  readonly linkData: U32;
  readonly type: number;
  readonly metric: number;
  /** TOS metrics, obsolete but kept. */
  readonly tos: readonly { readonly tos: number; readonly metric: number }[];
}

export interface RouterBody {
  readonly kind: 'router';
  /** V, E, B bits (and Nt, RFC 3101): 0x04 V, 0x02 E, 0x01 B. */
  readonly flags: number;
  readonly links: readonly RouterLink[];
}
export interface NetworkBody {
  readonly kind: 'network';
  readonly mask: U32;
  readonly attachedRouters: readonly U32[];
}
/** Types 3 and 4. */
export interface SummaryBody {
  readonly kind: 'summary';
  readonly mask: U32;
  readonly metric: number;
  readonly tos: readonly { readonly tos: number; readonly metric: number }[];
}
/** Types 5 and 7. */
export interface ExternalBody {
  readonly kind: 'external';
  readonly mask: U32;
  readonly metricType: 1 | 2;
  readonly metric: number;
  readonly forwardingAddress: U32;
  readonly tag: U32;
  readonly tos: readonly {
    readonly metricType: 1 | 2;
    readonly tos: number;
    readonly metric: number;
    readonly forwardingAddress: U32;
    readonly tag: U32;
  }[];
}
/** Types 9, 10, 11: Link State ID = opaque type (8 bits) + opaque id (24 bits). */
export interface OpaqueBody {
  readonly kind: 'opaque';
  readonly data: Uint8Array;
}
/** An LSA type that we do not know: kept and flooded as it came. */
export interface UnknownBody {
  readonly kind: 'unknown';
  readonly data: Uint8Array;
}
export type LsaBody = RouterBody | NetworkBody | SummaryBody | ExternalBody | OpaqueBody | UnknownBody;

export interface Lsa {
  readonly header: LsaHeader;
  readonly body: LsaBody;
  /** The LSA as it stood on the wire (age field included), so that flooding and checksums never re-encode it. */
  readonly raw: Uint8Array;
}

export interface PacketHeader {
  readonly routerId: U32;
  readonly areaId: U32;
  /** AuType: 0 null, 1 simple, 2 cryptographic. The encoder ignores it: the `Authentication` given decides. */
  readonly authType: number;
  /** AuType 2 only: the key the sender used. */
  readonly keyId?: number;
  /**
   * AuType 2 only, unsigned. The receiver must refuse a value lower than the last one it took from the same neighbour
   * (RFC 2328 §D.4.3 (5)); that needs memory, so it is the caller's check.
   */
  readonly cryptoSequence?: U32;
}

export interface HelloPacket extends PacketHeader {
  readonly type: 1;
  readonly networkMask: U32;
  readonly helloInterval: number;
  readonly options: number;
  readonly priority: number;
  readonly deadInterval: number;
  readonly designatedRouter: U32;
  readonly backupDesignatedRouter: U32;
  readonly neighbors: readonly U32[];
}
export interface DatabaseDescriptionPacket extends PacketHeader {
  readonly type: 2;
  readonly interfaceMtu: number;
  readonly options: number;
  /** I, M, MS: 0x04, 0x02, 0x01. */
  readonly flags: number;
  readonly sequence: U32;
  readonly headers: readonly LsaHeader[];
}
export interface LinkStateRequestPacket extends PacketHeader {
  readonly type: 3;
  readonly requests: readonly LsaKey[];
}
export interface LinkStateUpdatePacket extends PacketHeader {
  readonly type: 4;
  readonly lsas: readonly Lsa[];
  /**
   * Why LSAs of this packet are not in `lsas`, in their order (RFC 2328 §13 (1): a bad LSA is skipped by itself, the
   * packet goes on). Set by the decoder always, ignored by the encoder.
   */
  readonly rejected?: readonly DecodeError[];
}
export interface LinkStateAckPacket extends PacketHeader {
  readonly type: 5;
  readonly headers: readonly LsaHeader[];
}
export type OspfPacket =
  | HelloPacket
  | DatabaseDescriptionPacket
  | LinkStateRequestPacket
  | LinkStateUpdatePacket
  | LinkStateAckPacket;

/** What `encodePacket` takes: a decoded packet as it is, or one without what the encoder derives. */
export type OutgoingPacket =
  | Outgoing<HelloPacket>
  | Outgoing<DatabaseDescriptionPacket>
  | Outgoing<LinkStateRequestPacket>
  | (Omit<Outgoing<LinkStateUpdatePacket>, 'lsas'> & { readonly lsas: readonly Pick<Lsa, 'raw'>[] })
  | Outgoing<LinkStateAckPacket>;
type Outgoing<Packet extends PacketHeader> = Omit<Packet, 'authType'> & { readonly authType?: number };

/** What `encodeLsa` takes; length and checksum it computes. */
export type LsaFields = Omit<LsaHeader, 'length' | 'checksum'>;

/** Why a packet or an LSA was refused: a value, never an exception (each reason is counted by the speaker). */
export interface DecodeError {
  readonly ok: false;
  readonly reason:
    | 'truncated'
    | 'bad-version'
    | 'bad-type'
    | 'bad-length'
    | 'bad-checksum'
    | 'bad-lsa-checksum'
    | 'bad-lsa-length'
    | 'bad-auth'
    | 'bad-value';
  readonly detail: string;
}
export interface Decoded<T> {
  readonly ok: true;
  readonly value: T;
}
export type DecodeResult<T> = Decoded<T> | DecodeError;

/** RFC 2328 Appendix D, RFC 5709 (HMAC-SHA), RFC 7474 ordering. */
export type Authentication =
  | { readonly type: 'none' }
  | { readonly type: 'simple'; readonly password: string }
  | {
      readonly type: 'md5' | 'hmac-sha-1' | 'hmac-sha-256' | 'hmac-sha-384' | 'hmac-sha-512';
      readonly keyId: number;
      readonly secret: Uint8Array;
    };
