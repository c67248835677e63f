/**
 * A port whose admin state goes down loses its IPv6 addresses, unlike those of IPv4: opened again it would be no gateway to
 * its servers. With `keep_addr_on_down` the kernel keeps them (all but link-local ones) and has them back when the port
 * opens. So it is set on ports that we may shut and that have such an address, and put back when we go. A port that is down
 * by then keeps what it has.
 */
import type { LinkState, Port } from '../model/ports.ts';
import { BorrowedSetting } from './borrowed-setting.ts';
import type { GuardMemory } from './frames/index.ts';

export class KeptAddresses {
  readonly #links: LinkState;
  readonly #setting: BorrowedSetting;
  readonly #unsubscribe: () => void;
  #ports: ReadonlySet<string> = new Set();

  constructor(links: LinkState, memory: GuardMemory, netns: string | undefined) {
    this.#links = links;
    this.#setting = keptAddresses(memory, netns);
    this.#unsubscribe = links.onChange(({ name, after }) => {
      if (after && this.#ports.has(name)) this.#keep(after);
    });
  }

  /** Those that may be shut from now on; others get back what they had. */
  follow(ports: Iterable<string>): void {
    this.#ports = new Set(ports);
    this.#setting.uncover(this.#ports);
    for (const name of this.#ports) {
      const port = this.#links.port(name);
      if (port) this.#keep(port);
    }
  }

  /** All as it was before. */
  leave(): void {
    this.close();
    this.#setting.uncover();
  }

  /** Left as it is, for the next life. */
  close(): void {
    this.#unsubscribe();
    this.#ports = new Set();
  }

  #keep(port: Port): void {
    const { name, ifindex, addresses } = port;
    if (this.#setting.isCovered(name, ifindex)) return;
    if (addresses.some(({ address }) => isKeepable(address))) this.#setting.cover(name, ifindex);
  }
}

/** What an earlier life has set. */
export const keptAddresses = (memory: GuardMemory, netns: string | undefined): BorrowedSetting =>
  new BorrowedSetting('keep_addr_on_down', ['ipv6'], memory, netns);

const isKeepable = (address: string): boolean => address.includes(':') && !/^fe[89ab]/.test(address);
