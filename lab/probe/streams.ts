/**
 * What became of a numbered stream of packets. Pure: the probe's process records when each sequence number left and
 * arrived, this page says what that means.
 */
export interface StreamRecord {
  /** Milliseconds, by sequence number; every number below `sent` has left. */
  readonly sentAt: Float64Array;
  /** By then the kernel had taken it: a packet left between `sentAt` and this. Absent: it left at `sentAt`. */
  readonly leftBy?: Float64Array;
  /** How often each sequence number arrived. */
  readonly arrivals: Uint8Array;
  readonly sent: number;
  /** Packets that arrived after a packet with a higher number. */
  readonly reordered: number;
}

/** Packets in a row that never arrived. ms. */
export interface Hole {
  readonly count: number;
  /** The first of them had left by then. */
  readonly firstBy: number;
  /** The last of them left then, or later. */
  readonly last: number;
}

/** So many are kept of a stream. */
const HOLES = 100;

export interface StreamResult {
  readonly sent: number;
  readonly received: number;
  readonly lost: number;
  /** Packets that came more than once are counted once each. */
  readonly duplicates: number;
  readonly reordered: number;
  /**
   * Milliseconds between the last packet that left before the longest hole and arrived, and the first one after it,
   * less one interval: how long the path was broken, as seen from the sender. 0 without loss.
   */
  readonly outage: number;
  /** When the packet before the longest hole left (ms); undefined without loss. */
  readonly outageFrom: number | undefined;
  /** The longest time between two packets that left, ms: an outage inside it was not seen. */
  readonly pause: number;
  /** Separate holes: one clean move makes one. */
  readonly holes: number;
  /** The first of them. */
  readonly where: readonly Hole[];
}

/**
 * A hole at either edge of the window is measured to the edge: a stream that never came back is down until the end.
 * @param interval milliseconds between two packets as intended
 */
export function judgeStream(record: StreamRecord, interval: number): StreamResult {
  const { sentAt, leftBy = sentAt, arrivals, sent, reordered } = record;
  let received = 0;
  let duplicates = 0;
  let holes = 0;
  const where: Hole[] = [];
  let pause = 0;
  let outage = 0;
  let outageFrom: number | undefined;
  let holeStart = -1;
  const closeHole = (end: number): void => {
    const before = Math.max(holeStart - 1, 0);
    const after = Math.min(end, sent - 1);
    const length = Math.max(0, sentAt[after]! - sentAt[before]! - interval);
    if (length >= outage) {
      outage = length;
      outageFrom = sentAt[before]!;
    }
    holes++;
    if (where.length < HOLES) {
      where.push({ count: end - holeStart, firstBy: leftBy[holeStart]!, last: sentAt[end - 1]! });
    }
    holeStart = -1;
  };
  for (let sequence = 0; sequence < sent; sequence++) {
    if (sequence > 0) pause = Math.max(pause, sentAt[sequence]! - sentAt[sequence - 1]!);
    const count = arrivals[sequence]!;
    if (count === 0) {
      if (holeStart < 0) holeStart = sequence;
      continue;
    }
    received++;
    if (count > 1) duplicates++;
    if (holeStart >= 0) closeHole(sequence);
  }
  if (holeStart >= 0) closeHole(sent);
  return { sent, received, lost: sent - received, duplicates, reordered, outage, outageFrom, pause, holes, where };
}
