/** The anti-replay window of RFC 4303 §3.4.3 over whole 64-bit sequence numbers. */

const WIDTH = 1024;

export class ReplayWindow {
  #highest = 0n;
  /** Bit s mod WIDTH is set when s, of the last WIDTH numbers, was received. */
  readonly #seen = new Uint8Array(WIDTH / 8);

  /** Before decryption: whether a packet with this number would be accepted. */
  fresh(sequence: bigint): boolean {
    if (sequence === 0n) return false;
    if (sequence > this.#highest) return true;
    if (this.#highest - sequence >= WIDTH) return false;
    const [byte, bit] = place(sequence);
    return (this.#seen[byte]! & bit) === 0;
  }

  /** After the ICV has proved right. */
  accept(sequence: bigint): void {
    if (sequence > this.#highest) {
      const steps = sequence - this.#highest;
      if (steps >= WIDTH) this.#seen.fill(0);
      else for (let at = this.#highest + 1n; at < sequence; at++) this.#clear(at);
      this.#highest = sequence;
    }
    const [byte, bit] = place(sequence);
    this.#seen[byte]! |= bit;
  }

  #clear(sequence: bigint): void {
    const [byte, bit] = place(sequence);
    this.#seen[byte]! &= ~bit;
  }
}

function place(sequence: bigint): [number, number] {
  const index = Number(sequence % BigInt(WIDTH));
  return [index >>> 3, 1 << (index & 7)];
}
