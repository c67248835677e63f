import { readFileSync, writeFileSync } from 'node:fs';
import { withNetns } from 'linux-sockets';

/** Of the kernel's ip-sysctl: do not reply for all local addresses; take nobody's unasked word. */
const SILENT = { arp_ignore: '8', arp_accept: '0' } as const;
type Setting = keyof typeof SILENT;
const SETTINGS = Object.keys(SILENT) as Setting[];

/**
 * In a storm the kernel must not listen either: for every sender that asks for one of its addresses (or, with
 * `arp_accept`, just speaks) it makes an entry in its neighbour table, which is one for the whole box and small (1,024
 * entries by default). When it is full, the next hops of the uplinks go out of it. Two settings of the port stop that;
 * who may ask is answered by us meanwhile.
 */
export class ArpGuard {
  readonly #directory: string;
  readonly #netns: string | undefined;
  #before: ReadonlyMap<Setting, string> | undefined;

  constructor(port: string, netns: string | undefined) {
    this.#directory = `/proc/sys/net/ipv4/conf/${port}`;
    this.#netns = netns;
  }

  /** After a crash in a storm: a value that nobody else gives to a port towards servers. */
  clear(): void {
    if (this.#read('arp_ignore') === SILENT.arp_ignore) this.#write('arp_ignore', '0');
  }

  set(on: boolean): void {
    if (on === (this.#before !== undefined)) return;
    if (on) {
      const before = new Map<Setting, string>();
      for (const name of SETTINGS) {
        const value = this.#read(name);
        if (value === undefined) continue;
        before.set(name, value);
        this.#write(name, SILENT[name]);
      }
      this.#before = before;
    } else {
      for (const [name, value] of this.#before!) this.#write(name, value);
      this.#before = undefined;
    }
  }

  /** undefined: the port has gone, or /proc is not ours to use. */
  #read(name: Setting): string | undefined {
    return this.#inNetns(() => readFileSync(`${this.#directory}/${name}`, 'latin1').trim());
  }

  #write(name: Setting, value: string): void {
    this.#inNetns(() => writeFileSync(`${this.#directory}/${name}`, value));
  }

  #inNetns<T>(work: () => T): T | undefined {
    try {
      return this.#netns === undefined ? work() : withNetns(this.#netns, work);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === undefined) throw error;
      return undefined;
    }
  }
}
