/** What an agent leaves in the worker's entry for the one that follows it. */
import type { PeerState } from '../codec/control.ts';
import type { KeyId } from '../codec/identity.ts';
import { Association, type Random } from './association.ts';
import type { Said } from './events.ts';
import { STATES } from './table.ts';

const LAYOUT = 1;
const ASSOCIATION = 57;
const ENTRY = 5;
const MOST = 12;
/** From here on it is the driver's. */
export const LATEST_IN_MEMO = 4 + ASSOCIATION + MOST * ENTRY;

export interface Past {
  readonly association: Association;
  readonly state: PeerState;
  readonly said: Said | undefined;
}

/** 128 octets: layout (1), state (1), what the peer has said (1: 0 nothing, 1 authenticated, 2 not), count (1), association, versions. */
export function writeMemo({ association, state, said }: Past): Uint8Array {
  const bytes = Buffer.alloc(128);
  bytes[0] = LAYOUT;
  bytes[1] = STATES.indexOf(state);
  bytes[2] = said ? (said.authenticated ? 1 : 2) : 0;
  const held = said?.held.slice(0, MOST) ?? [];
  bytes[3] = held.length;
  bytes.set(association.memo(), 4);
  held.forEach(({ version, fingerprint }, index) => {
    const at = 4 + ASSOCIATION + index * ENTRY;
    bytes[at] = version;
    bytes.writeUInt32BE(fingerprint, at + 1);
  });
  return bytes;
}

/** undefined: of another layout, or empty. */
export function readMemo(memo: Uint8Array, random: Random): Past | undefined {
  const bytes = Buffer.from(memo.buffer, memo.byteOffset, memo.length);
  const state = STATES[bytes[1] ?? STATES.length];
  const count = bytes[3] ?? 0;
  if (bytes[0] !== LAYOUT || !state || bytes.length < 4 + ASSOCIATION + count * ENTRY) return undefined;
  const held: KeyId[] = Array.from({ length: count }, (_, index) => {
    const at = 4 + ASSOCIATION + index * ENTRY;
    return { version: bytes[at]!, fingerprint: bytes.readUInt32BE(at + 1) };
  });
  const association = Association.restore(bytes.subarray(4, 4 + ASSOCIATION), random);
  return { association, state, said: bytes[2] === 0 ? undefined : { held, authenticated: bytes[2] === 1 } };
}
