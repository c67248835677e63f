/**
 * Who wants to hear of something. Every listener hears it, in the turn of the event; one that throws hinders no other,
 * its exception surfaces as an uncaught one right after.
 */
export class Listeners<T> {
  readonly #listeners = new Set<(event: T) => void>();

  get wanted(): boolean {
    return this.#listeners.size > 0;
  }

  add(listener: (event: T) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  tell(event: T): void {
    for (const listener of this.#listeners) {
      try {
        listener(event);
      } catch (error) {
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }
}
