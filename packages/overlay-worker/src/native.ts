/*
 * The addon as TypeScript sees it, and where it is found: in prebuilds/, beside both src/ and dist/. A single executable
 * extracts it and names it in OVERLAY_WORKER_ADDON before this module is evaluated.
 */
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

export interface Native {
  /** Comes back when the agent has said stop, or with a negated errno and the call that failed. */
  run(
    socket: string,
    address: string,
    port: number,
    plainPort: number,
    underlayMtu: number,
    sourceFirst: number,
    sourcePorts: number,
  ): [number, string];
  /** Read-only: a write to it ends the process. */
  map(path: string, length: number): ArrayBuffer;
  /** A virtio_net_hdr (10 octets) and a frame -> the frames that leave; undefined: the headers contradict each other. */
  segment(headerAndFrame: Buffer, largestFrame: number): Buffer[] | undefined;
  /** Frames in the order of their arrival -> virtio_net_hdr and frame each. Changes what it is given. Without `udp`
   * only TCP is merged, as for a kernel before 6.2. */
  coalesce(frames: Buffer[], udp: boolean): Buffer[];
  /** DSCP and ECN of the IP packet in a frame; 0: there is none. */
  tos(frame: Buffer): number;
  /** RFC 6040 §4.2 for a frame that came under this outer TOS: changes its ECN field; false: to be dropped. */
  decapsulate(frame: Buffer, outerTos: number): boolean;
}

function load(): Native {
  const path =
    process.env.OVERLAY_WORKER_ADDON ??
    fileURLToPath(new URL(`../prebuilds/linux-${process.arch}/overlay-worker.node`, import.meta.url));
  try {
    return createRequire(import.meta.url)(path) as Native;
  } catch (cause) {
    throw new Error(`overlay-worker: no addon at ${path}, or it can't be loaded: \`./run build\` builds it`, { cause });
  }
}

export const native: Native = load();
