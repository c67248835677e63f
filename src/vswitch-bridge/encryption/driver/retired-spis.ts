/**
 * SPIs under which this life of the peer has been read, and is not any more. The same SPI again means the very same key: its
 * replay window would begin anew, and what was recorded under it would be taken.
 *
 * Not all of them, for ever: of what has left this memory only the time is known by which its keys were issued, and a key
 * that is no younger counts as one of them. That can be wrong of a key that was never used here, and costs other salts; it
 * is never wrong the other way round, but for octets that a controller issues once more, as new, after MOST rotations. The
 * versions themselves come round after 255.
 */

export const MOST = 256;

export class RetiredSpis {
  /** SPI → by when its key had been issued, ms since 1970. The oldest first. */
  readonly #known = new Map<number, number>();
  #forgotten = Number.NEGATIVE_INFINITY;

  get size(): number {
    return this.#known.size;
  }

  /** @param issued of this key or of a later one */
  add(spi: number, issued: number): void {
    this.#known.delete(spi);
    this.#known.set(spi, issued);
    if (this.#known.size <= MOST) return;
    const [oldest] = this.#known;
    if (!oldest) return;
    this.#known.delete(oldest[0]);
    this.#forgotten = Math.max(this.#forgotten, oldest[1]);
  }

  /** @param issued of the key that is to be read under this SPI */
  has(spi: number, issued: number): boolean {
    return issued <= this.#forgotten || this.#known.has(spi);
  }

  clear(): void {
    this.#known.clear();
    this.#forgotten = Number.NEGATIVE_INFINITY;
  }
}
