/**
 * Settings of the network namespace that the layout needs. What they were before is remembered until they are put back,
 * by `memory` also over the agent's lives; a setting that somebody else has changed meanwhile is left as it is.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { withNetns } from 'linux-sockets';

const ROOT = '/proc/sys/net';

/** Each setting by its path below /proc/sys/net, with its value before and the one that we gave it. */
export type SysctlRecord = Readonly<Record<string, { readonly before: string; readonly ours: string }>>;

export interface SysctlMemory {
  read(): SysctlRecord;
  write(record: SysctlRecord): void;
}

export const volatileMemory = (): SysctlMemory => {
  let record: SysctlRecord = {};
  return {
    read: () => record,
    write: (value) => {
      record = value;
    },
  };
};

export class Sysctls {
  readonly #netns: string | undefined;
  readonly #memory: SysctlMemory;

  constructor(netns: string | undefined, memory: SysctlMemory) {
    this.#netns = netns;
    this.#memory = memory;
  }

  /** @returns what could not be set, in words */
  set(wanted: Readonly<Record<string, string>>): string[] {
    return this.#inside(() => {
      const record: Record<string, { before: string; ours: string }> = { ...this.#memory.read() };
      const changes: [string, string][] = [];
      for (const [path, value] of Object.entries(wanted)) {
        const now = read(path);
        if (now === undefined || now === value) continue;
        record[path] = { before: record[path]?.before ?? now, ours: value };
        changes.push([path, value]);
      }
      // Remembered first: whoever dies between the two leaves a setting that can be put back.
      if (changes.length > 0) this.#memory.write(record);
      return changes.flatMap(([path, value]) => write(path, value));
    });
  }

  /** Which of these have another value now, as `net.ipv4.ip_forward`. */
  differing(wanted: Readonly<Record<string, string>>): string[] {
    return this.#inside(() =>
      Object.entries(wanted).flatMap(([path, value]) => {
        const now = read(path);
        return now === undefined || now === value ? [] : [nameOf(path)];
      }),
    );
  }

  /** For devices of our own: they take their settings with them. */
  setDevice(wanted: Readonly<Record<string, string>>): string[] {
    return this.#inside(() =>
      Object.entries(wanted).flatMap(([path, value]) => {
        const now = read(path);
        return now === undefined || now === value ? [] : write(path, value);
      }),
    );
  }

  /** The reverse-path filter of a device is the larger of its own and that of `all`: the latter moves to the devices. */
  reversePathFilters(isOurs: (device: string) => boolean): Record<string, string> {
    return this.#inside(() => {
      const all = read('ipv4/conf/all/rp_filter') ?? '0';
      if (all === '0') return {};
      const wanted: Record<string, string> = {};
      for (const device of readdirSync(`${ROOT}/ipv4/conf`)) {
        const own = read(`ipv4/conf/${device}/rp_filter`);
        if (device === 'all' || own === undefined || isOurs(device)) continue;
        wanted[`ipv4/conf/${device}/rp_filter`] = `${Math.max(Number(all), Number(own))}`;
      }
      // The last, so that no device is without in between.
      wanted['ipv4/conf/all/rp_filter'] = '0';
      return wanted;
    });
  }

  putBack(): string[] {
    return this.#inside(() => {
      const problems: string[] = [];
      for (const [path, { before, ours }] of Object.entries(this.#memory.read()).reverse()) {
        if (read(path) === ours) problems.push(...write(path, before));
      }
      this.#memory.write({});
      return problems;
    });
  }

  #inside<T>(work: () => T): T {
    return this.#netns === undefined ? work() : withNetns(this.#netns, work);
  }
}

const nameOf = (path: string): string => `net.${path.replaceAll('/', '.')}`;

/** undefined: this kernel has no such setting. */
function read(path: string): string | undefined {
  try {
    return readFileSync(`${ROOT}/${path}`, 'utf8').trim();
  } catch {
    // A device that has gone meanwhile, or an option that was not built.
    return undefined;
  }
}

function write(path: string, value: string): string[] {
  try {
    writeFileSync(`${ROOT}/${path}`, value);
    return [];
  } catch (error) {
    return [`${nameOf(path)} can't be set to ${value}: ${(error as NodeJS.ErrnoException).code}`];
  }
}
