/** The disk of one switch: what the agent keeps there outlives a crash; a snapshot that was being written does not. */
import type { MemoryStore } from '../../src/agent/tor/host-memory.ts';
import type { LoadedState, StateStore, StoredPort, StoredState } from '../../src/portlink/index.ts';
import type { LifeClock } from './clock.ts';
import type { Random } from './random.ts';

export class Disk {
  #snapshot: StoredState = { ports: [], holds: {} };
  #intents: StoredPort[] = [];
  #hosts: string | undefined;

  get shutPorts(): string[] {
    return [...this.#snapshot.ports, ...this.#intents].map(({ port }) => port);
  }

  portState(clock: LifeClock, random: Random): StateStore {
    let saving: Promise<void> | undefined;
    let pending: StoredState | undefined;
    const write = async (): Promise<void> => {
      await new Promise<void>((resolve) => clock.after(random.between(0.5, 15), resolve));
      const state = pending!;
      pending = undefined;
      const intents = this.#intents.length;
      await new Promise<void>((resolve) => clock.after(random.between(0.5, 15), resolve));
      this.#snapshot = structuredClone(state);
      if (this.#intents.length === intents) this.#intents = [];
    };
    return {
      load: (): LoadedState => {
        const ports = new Map([...this.#snapshot.ports, ...this.#intents].map((port) => [port.port, port]));
        return { ports: [...ports.values()], holds: this.#snapshot.holds, problems: [] };
      },
      intend: (ports) => {
        if (!clock.dead) this.#intents.push(...ports);
      },
      save: (state) => {
        const waits = pending !== undefined;
        pending = state;
        if (!waits || !saving) saving = (saving ?? Promise.resolve()).then(write);
        return saving;
      },
      close: async () => {
        await saving;
      },
    };
  }

  hostMemory(clock: LifeClock): MemoryStore {
    return {
      read: () => this.#hosts,
      write: (text) => {
        if (!clock.dead) this.#hosts = text;
      },
    };
  }
}
