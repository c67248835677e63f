/** `__u64` as a number: exact up to 2^53, which in nanoseconds is a hundred days, and near enough after that. */
export const nanoseconds = (bytes: Buffer, at: number): number =>
  bytes.readUInt32LE(at + 4) * 0x1_0000_0000 + bytes.readUInt32LE(at);
