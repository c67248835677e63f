/**
 * Bidirectional Forwarding Detection (RFC 5880) beside routing sessions: one hop away with TTL 255 on both sides (RFC 5881),
 * or many (RFC 5883). Asynchronous mode; a peer's wish for demand mode is respected; no echo function, no authentication.
 * machine/session.ts says what a session is, driver.ts how it lives beside a busy event loop.
 */
export type { SessionState } from './codec/packet.ts';
export { BfdSpeaker } from './driver.ts';
export type {
  BfdOptions,
  BfdPeer,
  BfdSettings,
  RememberedSession,
  SessionChange,
  SessionStore,
  SessionView,
  Speaker,
} from './face.ts';
export type { BfdSockets } from './socket.ts';
