/**
 * What RFC 4271 §6 makes of bad input: a value that says which NOTIFICATION it calls for. `reason` names it for
 * counters and logs. RFC 7606's milder outcomes are not errors but `Problem`s of an UPDATE, see `messages.ts`.
 */
export interface BgpError {
  readonly type: 'ERROR';
  readonly code: number;
  readonly subcode: number;
  readonly data: Uint8Array;
  readonly reason: string;
}

const NO_DATA = new Uint8Array(0);

export const bgpError = (code: number, subcode: number, reason: string, data: Uint8Array = NO_DATA): BgpError => ({
  type: 'ERROR',
  code,
  subcode,
  data,
  reason,
});

/** RFC 4271 §4.5, RFC 9687. */
export const CODE = {
  header: 1,
  open: 2,
  update: 3,
  holdTimer: 4,
  fsm: 5,
  cease: 6,
  routeRefresh: 7,
  sendHold: 8,
} as const;

export const HEADER = { notSynchronized: 1, badLength: 2, badType: 3 } as const;

export const OPEN = {
  unspecific: 0,
  unsupportedVersion: 1,
  badPeerAs: 2,
  badIdentifier: 3,
  unsupportedParameter: 4,
  unacceptableHoldTime: 6,
  unsupportedCapability: 7,
} as const;

export const UPDATE = {
  malformedAttributeList: 1,
  unrecognizedWellKnown: 2,
  missingWellKnown: 3,
  attributeFlags: 4,
  attributeLength: 5,
  invalidOrigin: 6,
  invalidNextHop: 8,
  optionalAttribute: 9,
  invalidNetworkField: 10,
  malformedAsPath: 11,
} as const;

/** RFC 4486, RFC 8203 §2. */
export const CEASE = {
  maximumPrefixes: 1,
  administrativeShutdown: 2,
  deconfigured: 3,
  administrativeReset: 4,
  connectionRejected: 5,
  configurationChange: 6,
  collision: 7,
  outOfResources: 8,
  /** RFC 9384. */
  bfdDown: 10,
} as const;

/** RFC 6608. */
export const FSM = { openSent: 1, openConfirm: 2, established: 3 } as const;
