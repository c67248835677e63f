/**
 * The disk of one switch: what the agent keeps there outlives a crash; a snapshot that was being written does not, nor
 * does the line of the journal at which it died. It may be full for a while.
 */
import type { MemoryStore } from '../../src/agent/memory-store.ts';
import type { OspfOptions } from '../../src/ospf/index.ts';
import type { LoadedState, StateStore, StoredPort, StoredState } from '../../src/portlink/index.ts';
import type { Call, Fate } from './calls.ts';
import type { LifeClock } from './clock.ts';
import type { Random } from './random.ts';

type OspfMemory = NonNullable<OspfOptions['memory']>;

export interface DiskUser {
  readonly clock: LifeClock;
  readonly random: Random;
  readonly fate: Fate;
  enter(call: Call): void;
}

export class Disk {
  /** Ports that were shut while nothing could be written, and not written down since. */
  readonly unrecorded = new Set<string>();
  /** How often the machine was booted. */
  boots = 1;
  #adjacencies: Uint8Array | undefined;
  #snapshot: StoredState = { ports: [], holds: {} };
  #intents: StoredPort[] = [];
  readonly #texts = new Map<string, string>();

  get shutPorts(): string[] {
    return [...this.#snapshot.ports, ...this.#intents].map(({ port }) => port);
  }

  portState(user: DiskUser): StateStore {
    const { clock, random, fate, enter } = user;
    let saving: Promise<void> = Promise.resolve();
    let pending: StoredState | undefined;
    const pause = (): Promise<void> => {
      const late = fate.strikes('disk: save', 'delay');
      return new Promise((resolve) => clock.after(late ? random.between(15, 400) : random.between(0.5, 15), resolve));
    };
    const write = async (): Promise<void> => {
      await pause();
      const state = pending!;
      pending = undefined;
      const intents = this.#intents.length;
      enter('disk: save');
      await pause();
      if (fate.strikes('disk: save', 'error')) {
        for (const { port } of state.ports) if (!this.shutPorts.includes(port)) this.unrecorded.add(port);
        throw new Error('ENOSPC: no space left on device');
      }
      this.#snapshot = structuredClone(state);
      this.unrecorded.clear();
      if (this.#intents.length === intents) this.#intents = [];
      enter('disk: save');
    };
    return {
      load: (): LoadedState => {
        const ports = new Map([...this.#snapshot.ports, ...this.#intents].map((port) => [port.port, port]));
        return { ports: [...ports.values()], holds: this.#snapshot.holds, problems: [] };
      },
      intend: (ports) => {
        enter('disk: intend');
        if (clock.dead) return;
        if (fate.strikes('disk: intend', 'error')) {
          for (const { port } of ports) this.unrecorded.add(port);
          throw new Error('ENOSPC: no space left on device');
        }
        for (const { port } of ports) this.unrecorded.delete(port);
        this.#intents.push(...ports);
        enter('disk: intend');
      },
      save: (state) => {
        const waits = pending !== undefined;
        pending = state;
        if (!waits) saving = saving.then(write, write);
        return saving;
      },
      close: () => saving.catch(() => undefined),
    };
  }

  /** What OSPF keeps of its adjacencies; void after each boot. */
  adjacencies({ clock, random, fate, enter }: DiskUser): OspfMemory {
    const broken = (call: Call): void => {
      if (fate.strikes(call, 'error')) throw new Error('EIO: i/o error');
    };
    return {
      boot: String(this.boots),
      read: () => {
        broken('disk: memory read');
        return this.#adjacencies && Uint8Array.from(this.#adjacencies);
      },
      replace: (bytes) => {
        enter('disk: memory write');
        if (clock.dead) return;
        broken('disk: memory write');
        this.#adjacencies = Uint8Array.from(bytes);
        enter('disk: memory write');
      },
      write: (bytes, at) => {
        if (clock.dead) return;
        broken('disk: memory write');
        // Killed in the midst of it: the head is written, the rest is as it was.
        enter('disk: memory write');
        const written = clock.dead ? bytes.subarray(0, random.integer(0, bytes.length)) : bytes;
        const file = new Uint8Array(Math.max(this.#adjacencies?.length ?? 0, at + written.length));
        file.set(this.#adjacencies ?? []);
        file.set(written, at);
        this.#adjacencies = file;
      },
      remove: () => {
        if (clock.dead) return;
        broken('disk: memory write');
        this.#adjacencies = undefined;
      },
      close: () => {},
    };
  }

  memory({ clock, fate, enter }: DiskUser, name: string): MemoryStore {
    return {
      read: () => {
        if (fate.strikes('disk: memory read', 'error')) throw new Error('EIO: i/o error');
        return this.#texts.get(name);
      },
      write: (text) => {
        enter('disk: memory write');
        if (clock.dead) return;
        if (fate.strikes('disk: memory write', 'error')) throw new Error('ENOSPC: no space left on device');
        this.#texts.set(name, text);
        enter('disk: memory write');
      },
    };
  }
}
