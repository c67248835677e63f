/** VXLAN (RFC 7348 §5) with the UDP header in front of it, and the version in its reserved bits: form (c). */
import type { Indication } from '../worker-face.ts';

export const VXLAN_PORT = 4789;
/** UDP and VXLAN. */
export const INNER_HEADER = 16;
const VXLAN_HEADER = 8;
const VNI_VALID = 0x08;
/** Of the low nibble of the 24 reserved bits. */
const TOLD = 0x8;
const OFF = 0x1;

export interface InnerPacket {
  /** 24 bits. */
  readonly vni: number;
  /** UDP source port: entropy of the flow. */
  readonly sourcePort: number;
  /** Ethernet. */
  readonly frame: Uint8Array;
}

export type VxlanError = 'truncated' | 'malformed';

/** UDP and VXLAN header as they stand inside ESP. @throws RangeError when the frame is too long for UDP */
export function encodeInner({ vni, sourcePort, frame }: InnerPacket): Buffer {
  const bytes = Buffer.alloc(INNER_HEADER + frame.length);
  bytes.writeUInt16BE(sourcePort, 0);
  bytes.writeUInt16BE(VXLAN_PORT, 2);
  bytes.writeUInt16BE(bytes.length, 4);
  writeVxlan(bytes, 8, vni, undefined);
  bytes.set(frame, INNER_HEADER);
  return bytes;
}

export function decodeInner(bytes: Uint8Array): InnerPacket | { readonly error: VxlanError } {
  if (bytes.length < INNER_HEADER) return { error: 'truncated' };
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  if (view.readUInt16BE(2) !== VXLAN_PORT || view.readUInt16BE(4) !== bytes.length) return { error: 'malformed' };
  const vxlan = decodeVxlan(view.subarray(8));
  if ('error' in vxlan) return vxlan;
  return { vni: vxlan.vni, sourcePort: view.readUInt16BE(0), frame: vxlan.frame };
}

/** The payload of a UDP packet to port 4789. */
export function encodeVxlan(vni: number, frame: Uint8Array, indication: Indication | undefined): Buffer {
  const bytes = Buffer.alloc(VXLAN_HEADER + frame.length);
  writeVxlan(bytes, 0, vni, indication);
  bytes.set(frame, VXLAN_HEADER);
  return bytes;
}

export interface Vxlan {
  readonly vni: number;
  readonly frame: Uint8Array;
  /** Absent: an ordinary VXLAN packet. */
  readonly indication?: Indication;
}

export function decodeVxlan(bytes: Uint8Array): Vxlan | { readonly error: VxlanError } {
  if (bytes.length < VXLAN_HEADER) return { error: 'truncated' };
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  if (view[0] !== VNI_VALID) return { error: 'malformed' };
  const reserved = view.readUIntBE(1, 3);
  const told = (reserved & TOLD) !== 0;
  if (!told && reserved !== 0) return { error: 'malformed' };
  const vxlan = { vni: view.readUIntBE(4, 3), frame: view.subarray(VXLAN_HEADER) };
  if (!told) return vxlan;
  const indication = { version: reserved >>> 16, fp12: (reserved >>> 4) & 0xfff, off: (reserved & OFF) !== 0 };
  return { ...vxlan, indication };
}

function writeVxlan(bytes: Buffer, at: number, vni: number, indication: Indication | undefined): void {
  bytes[at] = VNI_VALID;
  if (indication) {
    const { version, fp12, off } = indication;
    bytes.writeUIntBE((version << 16) | (fp12 << 4) | TOLD | (off ? OFF : 0), at + 1, 3);
  }
  bytes.writeUIntBE(vni, at + 4, 3);
}
