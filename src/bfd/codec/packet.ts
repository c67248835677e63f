/** BFD control packets, RFC 5880 §4.1. */
import {
  type AuthenticationError,
  type AuthenticationSection,
  decodeAuthentication,
  encodeAuthentication,
} from './authentication.ts';

/** In the order of the wire. */
const STATES = ['AdminDown', 'Down', 'Init', 'Up'] as const;
export type SessionState = (typeof STATES)[number];

/** RFC 5880 §4.1: why the session was last left, by the one who says it. Numbers above 8 are reserved. */
export const DIAGNOSTIC = {
  none: 0,
  controlDetectionTimeExpired: 1,
  echoFunctionFailed: 2,
  neighborSignaledSessionDown: 3,
  forwardingPlaneReset: 4,
  pathDown: 5,
  concatenatedPathDown: 6,
  administrativelyDown: 7,
  reverseConcatenatedPathDown: 8,
} as const;

const DIAGNOSTICS = [
  'No Diagnostic',
  'Control Detection Time Expired',
  'Echo Function Failed',
  'Neighbor Signaled Session Down',
  'Forwarding Plane Reset',
  'Path Down',
  'Concatenated Path Down',
  'Administratively Down',
  'Reverse Concatenated Path Down',
] as const;

export const diagnosticText = (diagnostic: number): string => DIAGNOSTICS[diagnostic] ?? `Diagnostic ${diagnostic}`;

export interface ControlPacket {
  /** 0 to 31. */
  readonly diagnostic: number;
  readonly state: SessionState;
  readonly poll: boolean;
  readonly final: boolean;
  readonly controlPlaneIndependent: boolean;
  readonly demand: boolean;
  /** 1 to 255. */
  readonly detectMult: number;
  readonly myDiscriminator: number;
  readonly yourDiscriminator: number;
  /** Microseconds, as the next two. */
  readonly desiredMinTxInterval: number;
  readonly requiredMinRxInterval: number;
  readonly requiredMinEchoRxInterval: number;
  readonly authentication?: AuthenticationSection;
}

/** What RFC 5880 §6.8.6 discards for the packet's own sake. */
export type PacketError =
  | 'short'
  | 'version'
  | 'length'
  | 'detect-mult-zero'
  | 'multipoint'
  | 'my-discriminator-zero'
  | 'your-discriminator-zero'
  | AuthenticationError;

const VERSION = 1;
const MANDATORY = 24;
const FLAG = { poll: 0x20, final: 0x10, independent: 0x08, authentication: 0x04, demand: 0x02, multipoint: 0x01 };

/** `bytes`: the UDP payload; what stands behind the packet's own length is not looked at. */
export function decodePacket(bytes: Uint8Array): ControlPacket | PacketError {
  if (bytes.length < MANDATORY) return 'short';
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (bytes[0]! >> 5 !== VERSION) return 'version';
  const flags = bytes[1]!;
  const length = bytes[3]!;
  const authenticated = (flags & FLAG.authentication) !== 0;
  if (length > bytes.length || length < (authenticated ? MANDATORY + 2 : MANDATORY)) return 'length';
  if (bytes[2] === 0) return 'detect-mult-zero';
  if (flags & FLAG.multipoint) return 'multipoint';
  const myDiscriminator = view.getUint32(4);
  if (myDiscriminator === 0) return 'my-discriminator-zero';
  const state = STATES[flags >> 6]!;
  const yourDiscriminator = view.getUint32(8);
  if (yourDiscriminator === 0 && state !== 'Down' && state !== 'AdminDown') return 'your-discriminator-zero';
  const authentication = authenticated ? decodeAuthentication(bytes.subarray(MANDATORY, length)) : undefined;
  if (typeof authentication === 'string') return authentication;
  return {
    diagnostic: bytes[0]! & 31,
    state,
    poll: (flags & FLAG.poll) !== 0,
    final: (flags & FLAG.final) !== 0,
    controlPlaneIndependent: (flags & FLAG.independent) !== 0,
    demand: (flags & FLAG.demand) !== 0,
    detectMult: bytes[2]!,
    myDiscriminator,
    yourDiscriminator,
    desiredMinTxInterval: view.getUint32(12),
    requiredMinRxInterval: view.getUint32(16),
    requiredMinEchoRxInterval: view.getUint32(20),
    ...(authentication === undefined ? {} : { authentication }),
  };
}

/** @throws RangeError for an authentication section that can't be written */
export function encodePacket(packet: ControlPacket): Uint8Array {
  const section = packet.authentication && encodeAuthentication(packet.authentication);
  const bytes = new Uint8Array(MANDATORY + (section?.length ?? 0));
  const view = new DataView(bytes.buffer);
  bytes[0] = (VERSION << 5) | (packet.diagnostic & 31);
  bytes[1] =
    (STATES.indexOf(packet.state) << 6) |
    (packet.poll ? FLAG.poll : 0) |
    (packet.final ? FLAG.final : 0) |
    (packet.controlPlaneIndependent ? FLAG.independent : 0) |
    (section ? FLAG.authentication : 0) |
    (packet.demand ? FLAG.demand : 0);
  bytes[2] = packet.detectMult;
  bytes[3] = bytes.length;
  view.setUint32(4, packet.myDiscriminator);
  view.setUint32(8, packet.yourDiscriminator);
  view.setUint32(12, packet.desiredMinTxInterval);
  view.setUint32(16, packet.requiredMinRxInterval);
  view.setUint32(20, packet.requiredMinEchoRxInterval);
  if (section) bytes.set(section, MANDATORY);
  return bytes;
}
