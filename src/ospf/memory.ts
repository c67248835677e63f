/**
 * The speaker's memory on disk: what `machine/resume.ts` needs of an earlier life.
 *
 * A neighbour's LSA is written before it is acknowledged (acknowledgements are delayed by 100 ms, this by a turn of the
 * event loop), so what the neighbour will not send again is known. An LSA of ours that is new is written before it is sent:
 * a life that took up the adjacency and did not know of it would leave it with the neighbours for an hour. The page cache outlives the process, and no memory
 * outlives a boot, so nothing is synchronised to the disk. A memory that can't be written is thrown away: an old one would
 * be worse than none.
 */
import { closeSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { type Address, ipv4ToNumber } from '../model/address.ts';
import type { Clock, Instant, Timer } from '../model/clock.ts';
import type { Log } from '../model/log.ts';
import {
  decodeMemory,
  encodeAdjacencies,
  encodeGone,
  encodeLsaRecord,
  encodePulse,
  encodeStart,
  type Identity,
  type Kept,
  type KeptScope,
  PULSE_AT,
} from './codec/memory.ts';
import type { Core, LsdbEntry } from './machine/core.ts';
import { keepsake } from './machine/resume.ts';

/** Where the octets are kept. All of it throws when the disk does not do it. */
export interface MemoryStore {
  /** Differs after each boot of the machine: what was kept before it is void. */
  readonly boot: string;
  /** undefined: there is nothing. */
  read(): Uint8Array | undefined;
  /** All or nothing. */
  replace(bytes: Uint8Array): void;
  /** Into what the last `replace` made. */
  write(bytes: Uint8Array, at: number): void;
  /** Nothing is kept any more. */
  remove(): void;
  close(): void;
}

export function memoryFile(path: string): MemoryStore {
  let fd: number | undefined;
  const close = (): void => {
    if (fd !== undefined) closeSync(fd);
    fd = undefined;
  };
  return {
    boot: readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim(),
    read() {
      try {
        return readFileSync(path);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
        throw error;
      }
    },
    replace(bytes) {
      close();
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(`${path}.new`, bytes, { mode: 0o600 });
      fd = openSync(`${path}.new`, 'r+');
      renameSync(`${path}.new`, path);
    },
    write(bytes, at) {
      if (fd === undefined) throw new Error('the memory is not open');
      writeSync(fd, bytes, 0, bytes.length, at);
    },
    remove() {
      close();
      rmSync(path, { force: true });
    },
    close,
  };
}

/** Written anew when what is in it by now exceeds this (octets), and twice what it began with. */
const LEAST_GROWTH = 1 << 20;
/** After a write that failed (ms): until the next one, all anew. */
const RetryAfter = 10_000;

export interface MemoryOptions {
  readonly store: MemoryStore;
  readonly routerId: number;
  readonly clock: Clock;
  readonly log: Log;
  readonly core: Core;
  count(name: string): void;
}

export class Memory {
  readonly #options: MemoryOptions;
  readonly #identity: Identity;
  readonly #touched = new Set<LsdbEntry>();
  /** Of ours, in whatever instance: their keys are on the disk. */
  readonly #written = new WeakSet<LsdbEntry>();
  #open = false;
  #length = 0;
  #began = 0;
  #adjacencies = '';
  #graceUntil: Instant = 0;
  #cryptoSequence = 0;
  #timer: Timer | undefined;
  /** What is on the disk is not what was last known: it must go, and then be written anew. */
  #lostAt: Instant | undefined;
  #remains = false;

  constructor(options: MemoryOptions) {
    this.#options = options;
    this.#identity = { boot: options.store.boot, routerId: options.routerId };
  }

  /** What the earlier life left, unless nobody can still be waiting for it. */
  load(): Kept | undefined {
    const { store, clock, log, count } = this.#options;
    let bytes: Uint8Array | undefined;
    try {
      bytes = store.read();
    } catch (error) {
      count('memory.unreadable');
      log.warn({ err: error }, 'the memory of OSPF adjacencies can not be read: they begin anew');
    }
    if (!bytes) return undefined;
    const decoded = decodeMemory(bytes);
    if (!decoded.ok) {
      count(`memory.${decoded.reason}`);
      log.warn(
        { reason: decoded.reason, detail: decoded.detail },
        'the memory of OSPF adjacencies is of no use: they begin anew',
      );
      return undefined;
    }
    const { value } = decoded;
    if (value.boot !== this.#identity.boot || value.routerId !== this.#identity.routerId) {
      count('memory.of-another');
      return undefined;
    }
    const { at, graceUntil } = value.pulse;
    const now = clock.now();
    const alive = at <= now ? value.adjacencies : [];
    const adjacencies = alive.filter(({ deadInterval }) => now <= at + deadInterval * 1000);
    const late = now <= graceUntil ? alive.filter((each) => !adjacencies.includes(each)) : [];
    if (adjacencies.length + late.length < value.adjacencies.length) count('memory.too-late');
    this.#cryptoSequence = value.pulse.cryptoSequence;
    return { ...value, adjacencies, late };
  }

  /** From now on everything is written down, beginning with what there is. */
  begin(): void {
    const { core } = this.#options;
    core.touched = this.#touched;
    this.#open = true;
    this.#lostAt = undefined;
    this.#remains = false;
    this.#rewrite();
  }

  /** To be called before what an event has made is sent. */
  ahead(): void {
    if (!this.#open) return;
    for (const entry of this.#touched) {
      if (!entry.self || !entry.live || this.#written.has(entry)) continue;
      this.flush();
      return;
    }
  }

  /** To be called after each event: what it changed is written in the next turn. */
  changed(adjacenciesToo: boolean): void {
    if (!this.#open || this.#timer || (this.#touched.size === 0 && !adjacenciesToo)) return;
    const { clock } = this.#options;
    this.#timer = clock.schedule(clock.now(), () => this.flush());
  }

  /** A hello was sent. */
  pulse(cryptoSequence: number): void {
    this.#cryptoSequence = Math.max(this.#cryptoSequence, cryptoSequence);
    if (this.#lostAt !== undefined) this.#tryAgain(this.#lostAt);
    if (!this.#open) return;
    this.flush();
    if (this.#length > Math.max(LEAST_GROWTH, 2 * this.#began)) this.#rewrite();
    else this.#try(() => this.#options.store.write(encodePulse(this.#pulse()), PULSE_AT));
  }

  /** What is on its way to the disk is there now. */
  flush(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    if (!this.#open) return;
    const records: Uint8Array[] = [];
    for (const entry of this.#touched) {
      records.push(...recordOf(entry));
      if (entry.self) this.#written.add(entry);
    }
    this.#touched.clear();
    const adjacencies = this.#adjacencyRecord();
    if (adjacencies) records.push(adjacencies);
    if (records.length === 0) return;
    const bytes = Buffer.concat(records);
    this.#try(() => {
      this.#options.store.write(bytes, this.#length);
      this.#length += bytes.length;
    });
  }

  /** The highest number that is known to have been used; a clock that went back must not go below it. */
  get cryptoSequence(): number {
    return this.#cryptoSequence;
  }

  /** The neighbours were asked to wait until then. */
  grace(until: Instant): void {
    this.#graceUntil = until;
    this.pulse(this.#cryptoSequence);
  }

  /** The process ends here; what is written stays. */
  leave(): void {
    this.flush();
    this.#end();
    this.#options.store.close();
  }

  /** Everything was withdrawn: there is nothing to take up. */
  forget(): void {
    this.#end();
    this.#lostAt = undefined;
    this.#remove();
  }

  #remove(): void {
    const { store, log, count } = this.#options;
    try {
      store.remove();
      this.#remains = false;
    } catch (error) {
      count('memory.not-removed');
      if (!this.#remains) log.error({ err: error }, 'the memory of OSPF adjacencies was not removed');
      this.#remains = true;
    }
  }

  /**
   * A next life would take what remains of it for the truth as long as its last pulse is younger than the dead interval,
   * and would not know of LSAs that are newer than it: to be rid of it is tried with each hello.
   */
  #tryAgain(lostAt: Instant): void {
    if (this.#remains) this.#remove();
    if (this.#options.clock.now() - lostAt >= RetryAfter) this.begin();
  }

  #end(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#open = false;
    this.#options.core.touched = undefined;
    this.#touched.clear();
  }

  #rewrite(): void {
    const { core, store } = this.#options;
    const records: Uint8Array[] = [encodeStart(this.#identity, this.#pulse())];
    this.#touched.clear();
    for (const database of [core.external, ...Array.from(core.areas.values(), (area) => area.database)]) {
      for (const entry of database.entries.values()) {
        records.push(...recordOf(entry));
        if (entry.self) this.#written.add(entry);
      }
    }
    this.#adjacencies = '';
    const adjacencies = this.#adjacencyRecord();
    if (adjacencies) records.push(adjacencies);
    const bytes = Buffer.concat(records);
    this.#try(() => {
      store.replace(bytes);
      this.#length = bytes.length;
      this.#began = bytes.length;
    });
  }

  #adjacencyRecord(): Uint8Array | undefined {
    const kept = [...this.#options.core.interfaces.values()].flatMap((iface) => keepsake(iface) ?? []);
    const text = JSON.stringify(kept);
    if (text === this.#adjacencies) return undefined;
    this.#adjacencies = text;
    return encodeAdjacencies(kept);
  }

  #pulse() {
    return {
      at: this.#options.clock.now(),
      graceUntil: this.#graceUntil,
      cryptoSequence: this.#cryptoSequence,
    };
  }

  #try(write: () => void): void {
    try {
      write();
    } catch (error) {
      this.#options.count('memory.not-written');
      this.#options.log.error(
        { err: error },
        'the memory of OSPF adjacencies can not be written: a restart will be noticed',
      );
      this.forget();
      this.#lostAt = this.#options.clock.now();
    }
  }
}

function recordOf(entry: LsdbEntry): Uint8Array[] {
  const { kind, name } = entry.database.scope;
  if (kind === 'link') return [];
  const scope: KeptScope = kind === 'as' ? { kind } : { kind, id: ipv4ToNumber(name as Address) };
  const { header, raw } = entry.lsa;
  return [entry.live ? encodeLsaRecord(scope, raw, entry.installedAt) : encodeGone(scope, header)];
}
