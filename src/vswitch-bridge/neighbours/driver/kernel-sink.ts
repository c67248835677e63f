/**
 * The kernel's neighbour table, for next hops of tunnels only. What an answer has confirmed is NUD_REACHABLE, what was
 * only heard is NUD_STALE; the kernel goes on ageing and refreshing both by itself. Nothing is made permanent, and what
 * somebody else made permanent is left alone.
 */
import { AF, NUD, type Rtnetlink, requests } from 'rtnetlink-ts';
import { type Address, familyOf } from '../../../model/address.ts';
import type { NeighbourChange } from '../machine/types.ts';

const family = (address: Address) => (familyOf(address) === 6 ? AF.INET6 : AF.INET);

export class KernelSink {
  readonly #rtnetlink: Pick<Rtnetlink, 'sendNow'>;
  readonly #permanent: (ifindex: number, address: Address) => boolean;
  readonly #count = { written: 0, removed: 0, refused: 0 };
  readonly #onRefusal: (code: string) => void;

  constructor(options: {
    readonly rtnetlink: Pick<Rtnetlink, 'sendNow'>;
    permanent(ifindex: number, address: Address): boolean;
    onRefusal(code: string): void;
  }) {
    this.#rtnetlink = options.rtnetlink;
    this.#permanent = (ifindex, address) => options.permanent(ifindex, address);
    this.#onRefusal = (code) => options.onRefusal(code);
  }

  /** Done by the kernel when this returns. */
  apply(change: NeighbourChange): void {
    const { ifindex, address, mac } = change.to;
    if (this.#permanent(ifindex, address)) return;
    const entry = { family: family(address), ifindex, destination: address };
    if (change.op === 'set') {
      const state = change.reachable ? NUD.REACHABLE : NUD.STALE;
      this.#count.written++;
      this.#send(requests.setNeighbour({ ...entry, linkAddress: mac, state }));
    } else if (change.why === 'invalidated') {
      this.#count.removed++;
      this.#send(requests.deleteNeighbour(entry), 'ENOENT');
    }
    // An entry that nobody needs any more, or whose neighbour is silent, grows old as the kernel sees fit.
  }

  counters(): Readonly<Record<string, number>> {
    return this.#count;
  }

  #send(request: Parameters<Rtnetlink['sendNow']>[0][number], harmless?: string): void {
    this.#rtnetlink
      .sendNow([request])
      .then(({ refused }) => {
        for (const { refusal } of refused) if (refusal.code !== harmless) this.#refused(refusal.code);
      })
      .catch((error: unknown) => this.#refused(error instanceof Error ? error.message : String(error)));
  }

  #refused(code: string): void {
    this.#count.refused++;
    this.#onRefusal(code);
  }
}
