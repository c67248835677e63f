import { readSetting, writeSetting } from '../port-setting.ts';
import type { GuardMemory } from './guard-memory.ts';

/** Of the kernel's ip-sysctl: do not reply for all local addresses; take nobody's unasked word; reply for nobody else. */
const SILENT = { arp_ignore: '8', arp_accept: '0', proxy_arp: '0' } as const;
type Setting = keyof typeof SILENT;
const SETTINGS = Object.keys(SILENT) as Setting[];

/**
 * In a storm the kernel must not listen either: for every sender that asks for one of its addresses (with `proxy_arp`:
 * for any that it has a route to; with `arp_accept` who just speaks) it makes an entry in its neighbour table, which is
 * one for the whole box and small (1,024 entries by default). When it is full, the next hops of the uplinks go out of it.
 * Three settings of the port stop that, unless `all` says otherwise; who may ask is answered by us meanwhile.
 *
 * There are no such settings for neighbour discovery: every solicitation that asks for us makes an entry.
 */
export class ArpGuard {
  readonly #port: string;
  readonly #directory: string;
  readonly #netns: string | undefined;
  readonly #memory: GuardMemory | undefined;
  #before: ReadonlyMap<Setting, string> | undefined;

  /** `memory`: for the next life of the agent, if this one is killed in a storm. */
  constructor(port: string, netns: string | undefined, memory?: GuardMemory) {
    this.#port = port;
    this.#directory = `/proc/sys/net/ipv4/conf/${port}`;
    this.#netns = netns;
    this.#memory = memory;
  }

  /** Also when another life did it. */
  get isSet(): boolean {
    return this.#read('arp_ignore') === SILENT.arp_ignore;
  }

  /** Set, and before that the kernel replied for others. */
  get proxied(): boolean {
    return this.#before?.get('proxy_arp') === '1';
  }

  /** After a crash in a storm: as it was before, or what can be known of it. */
  clear(): void {
    // Nobody else gives this value of arp_ignore to a port towards servers.
    const before = this.#memory?.settingsOf(this.#port) ?? { arp_ignore: '0' };
    for (const name of SETTINGS) {
      const value = before[name];
      // What is not ours any more somebody has set since.
      if (value !== undefined && this.#read(name) === SILENT[name]) this.#write(name, value);
    }
    this.#memory?.forget(this.#port);
  }

  set(on: boolean): void {
    if (on === (this.#before !== undefined)) return;
    if (on) {
      const before = new Map<Setting, string>();
      for (const name of SETTINGS) {
        const value = this.#read(name);
        if (value !== undefined) before.set(name, value);
      }
      this.#before = before;
      if (before.size > 0) this.#memory?.keep(this.#port, Object.fromEntries(before));
      for (const name of before.keys()) this.#write(name, SILENT[name]);
    } else {
      for (const [name, value] of this.#before!) this.#write(name, value);
      this.#before = undefined;
      this.#memory?.forget(this.#port);
    }
  }

  #read(name: Setting): string | undefined {
    return readSetting(`${this.#directory}/${name}`, this.#netns);
  }

  #write(name: Setting, value: string): void {
    writeSetting(`${this.#directory}/${name}`, value, this.#netns);
  }
}

/** Of these ports, and those of the memory, the ones that are silenced. */
export function guardedPorts(ports: readonly string[], memory: GuardMemory, netns?: string): string[] {
  const all = new Set([...ports, ...memory.ports]);
  return [...all].filter((port) => memory.settingsOf(port) || new ArpGuard(port, netns).isSet);
}

/** Ports that were in a storm when the agent was killed, whoever has them now. @returns their names */
export function clearGuards(memory: GuardMemory, netns?: string, ports = memory.ports): readonly string[] {
  for (const port of ports) new ArpGuard(port, netns, memory).clear();
  return ports;
}
