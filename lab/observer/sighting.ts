/** What an announcement or a withdrawal is to the measurement, whichever protocol says it. */
export interface RouteSighting {
  readonly protocol: 'ospf' | 'bgp';
  readonly kind: 'announce' | 'withdraw';
  readonly address: string;
  /** Who claims it, which need not be the neighbour that says so: OSPF's Advertising Router, the last AS of BGP's AS_PATH. */
  readonly origin?: string;
  /** Whoever says it only stands by for somebody else (docs/wire.md). */
  readonly shadow?: true;
}

export const quad = (bytes: Buffer, at: number): string =>
  `${bytes[at]}.${bytes[at + 1]}.${bytes[at + 2]}.${bytes[at + 3]}`;
