/**
 * The hardware behind a switch's ports. On a real one `ip link` doesn't turn a laser off, and a port whose laser is off
 * keeps an interface that is administratively up and has no carrier. Here light falls on a cable while the laser at the
 * switch is on and the cable is whole; the cable says by a device of its own, beside its wires, whether it is.
 */
import { LinkSetter, type Listener, listenLinks } from '../../netlink.ts';
import { CABLES, type Cable, namespaceOf, type TorName } from '../../topology/plan.ts';

interface Fibre {
  readonly cable: Cable;
  whole: boolean;
  on: boolean;
  lit: boolean | undefined;
}

export class Lasers {
  /** The cables are known as they are. */
  readonly ready: Promise<void>;
  readonly #fibres: readonly Fibre[];
  readonly #wires: LinkSetter;
  readonly #links: Listener;

  constructor(lab: string, tor: TorName, onError: (errno: number) => void) {
    const netns = namespaceOf(lab, 'wires');
    this.#fibres = CABLES.filter(({ near }) => near.node === tor).map((cable) => ({
      cable,
      whole: false,
      on: false,
      lit: undefined,
    }));
    this.#wires = new LinkSetter(netns, onError);
    const { promise, resolve } = Promise.withResolvers<void>();
    this.ready = promise;
    this.#links = listenLinks(
      netns,
      (link, gone) => {
        const fibre = this.#fibres.find(({ cable }) => cable.whole.ifindex === link.ifindex);
        if (!fibre) return;
        fibre.whole = !gone && link.up;
        this.#light(fibre);
      },
      resolve,
    );
  }

  set(port: string, on: boolean): void {
    const fibre = this.#fibres.find(({ cable }) => cable.near.port === port);
    if (!fibre) return;
    fibre.on = on;
    this.#light(fibre);
  }

  close(): void {
    this.#links.close();
    this.#wires.close();
  }

  #light(fibre: Fibre): void {
    const lit = fibre.on && fibre.whole;
    if (fibre.lit === lit) return;
    fibre.lit = lit;
    this.#wires.apply(fibre.cable.wires.map(({ ifindex }) => ({ ifindex, up: lit })));
  }
}
