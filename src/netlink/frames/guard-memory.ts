/** A text that outlives the process. */
export interface MemoryStore {
  /** undefined: there is none yet. @throws when it can't be read */
  read(): string | undefined;
  /** All or nothing, when it returns. @throws when it can't be written */
  write(text: string): void;
}

/** Of the kernel's settings of one port, by name. */
export type PortSettings = Readonly<Record<string, string>>;

/**
 * What the ports in a storm had before, for who comes after a kill in the midst of it. Written when a storm begins and
 * when it is over, in that turn: there is no better moment, and a storm costs more. Another boot of the machine has its
 * settings from elsewhere.
 */
export class GuardMemory {
  readonly #store: MemoryStore;
  readonly #boot: string;
  readonly #onError: (error: Error) => void;
  #ports: Map<string, PortSettings> | undefined;

  /** `onError`: it can't be read or written; the guard works all the same. */
  constructor(options: { readonly store: MemoryStore; readonly boot: string; onError(error: Error): void }) {
    this.#store = options.store;
    this.#boot = options.boot;
    this.#onError = options.onError;
  }

  get ports(): readonly string[] {
    return [...this.#loaded().keys()];
  }

  settingsOf(port: string): PortSettings | undefined {
    return this.#loaded().get(port);
  }

  keep(port: string, settings: PortSettings): void {
    this.#loaded().set(port, settings);
    this.#save();
  }

  forget(port: string): void {
    if (this.#loaded().delete(port)) this.#save();
  }

  #loaded(): Map<string, PortSettings> {
    this.#ports ??= new Map(this.#read());
    return this.#ports;
  }

  #read(): [string, PortSettings][] {
    try {
      const text = this.#store.read();
      if (text === undefined) return [];
      const { boot, ports } = JSON.parse(text) as { boot?: unknown; ports?: unknown };
      if (boot !== this.#boot || typeof ports !== 'object' || ports === null) return [];
      return Object.entries(ports).flatMap(([port, settings]) => (isSettings(settings) ? [[port, settings]] : []));
    } catch (error) {
      this.#onError(error as Error);
      return [];
    }
  }

  #save(): void {
    try {
      this.#store.write(JSON.stringify({ boot: this.#boot, ports: Object.fromEntries(this.#loaded()) }));
    } catch (error) {
      this.#onError(error as Error);
    }
  }
}

function isSettings(value: unknown): value is PortSettings {
  if (typeof value !== 'object' || value === null) return false;
  return Object.values(value).every((setting) => typeof setting === 'string' && /^\d{1,3}$/.test(setting));
}
