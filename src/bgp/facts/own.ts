import type { CarriedFact } from '../../model/port-facts.ts';
import { fits } from '../codec/facts.ts';

/** More ports than a switch has. */
const MOST = 4_096;

/** What is new since before, and what is not said any more. */
export interface FactBatch {
  readonly said: readonly CarriedFact[];
  readonly withdrawn: readonly Uint8Array[];
}

/** Keys are octets; as map keys they are text of one character an octet. */
export const textOf = (key: Uint8Array): string => Buffer.from(key).toString('latin1');

/** The facts that we carry to all neighbours. */
export class OwnFacts {
  #facts = new Map<string, CarriedFact>();
  /** Somebody has said what there is to say, if only that it is nothing: End-of-RIB may follow. */
  known = false;

  /** `refused`: how many can't be carried. */
  publish(facts: readonly CarriedFact[]): FactBatch & { readonly refused: number } {
    this.known = true;
    const next = new Map<string, CarriedFact>();
    const said: CarriedFact[] = [];
    let refused = 0;
    for (const fact of facts) {
      const name = textOf(fact.key);
      if (!fits(fact) || (next.size >= MOST && !next.has(name))) {
        refused++;
        continue;
      }
      const before = this.#facts.get(name);
      if (before && Buffer.compare(before.value, fact.value) === 0) next.set(name, before);
      else next.set(name, { key: Uint8Array.from(fact.key), value: Uint8Array.from(fact.value) });
    }
    for (const [name, fact] of next) if (this.#facts.get(name) !== fact) said.push(fact);
    const withdrawn = [...this.#facts].filter(([name]) => !next.has(name)).map(([, { key }]) => key);
    this.#facts = next;
    return { said, withdrawn, refused };
  }

  all(): FactBatch {
    return { said: [...this.#facts.values()], withdrawn: [] };
  }

  get size(): number {
    return this.#facts.size;
  }
}
