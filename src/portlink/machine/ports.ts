/*
 * What we know of each port, and which are shut by us.
 *
 * The kernel's notifications lag behind our own requests, and several requests may be under way. So from a request until
 * a while after its acknowledgement what is observed is recorded but not judged; then it is: a port that we shut and that
 * is open was opened by somebody, one that we opened and that is shut was shut by somebody. Outside such a window
 * every observation is judged at once.
 */
import type { Instant } from '../../model/clock.ts';
import type { Memory, RememberedPort, Side } from './types.ts';

/** From the kernel's acknowledgement until we trust observations again, ms. */
export const SETTLE = 500;
/** After a refused request until the next, ms. */
export const RETRY = 1000;

interface PortState {
  adminUp: boolean;
  carrier: boolean;
  /** `entry`: what an opening took out of our memory, in case it is refused. */
  request: { up: boolean; until: Instant; failed: boolean; entry: ShutEntry | undefined } | undefined;
  /** Requests to shut it that have not been answered: they may still come true, whatever was asked after them. */
  shutting: number;
}

interface ShutEntry extends RememberedPort {
  /** From the state file, not yet compared with the port itself. */
  readonly restored: boolean;
}

export type Judgement = {
  readonly kind: 'openedByOther' | 'goneFromMemory';
  readonly port: string;
  readonly group: string;
};

export class Ports {
  readonly #states = new Map<string, PortState>();
  readonly #shut = new Map<string, ShutEntry>();
  #version = 0;

  /** Counts up with each change of what must be remembered. */
  get version(): number {
    return this.#version;
  }

  observe(port: string, adminUp: boolean, carrier: boolean): Judgement | undefined {
    const state = this.#states.get(port);
    if (state) {
      state.adminUp = adminUp;
      state.carrier = carrier;
      return state.request || state.shutting > 0 ? undefined : this.#judge(port, state);
    }
    const fresh: PortState = { adminUp, carrier, request: undefined, shutting: 0 };
    this.#states.set(port, fresh);
    return this.#judge(port, fresh);
  }

  /** A port that comes back under the same name is another port. */
  gone(port: string): void {
    this.#states.delete(port);
    this.#forget(port);
  }

  get(port: string): { readonly adminUp: boolean; readonly carrier: boolean } | undefined {
    return this.#states.get(port);
  }

  isUp(port: string): boolean {
    const state = this.#states.get(port);
    return state?.adminUp === true && state.carrier;
  }

  /** It is, or by our last request will be, open, and is not one that we hold shut. */
  canShut(port: string): boolean {
    const state = this.#states.get(port);
    return state !== undefined && !this.#shut.has(port) && (state.request ? state.request.up : state.adminUp);
  }

  /** We shut it, and nothing speaks against asking for the opening now. */
  canOpen(port: string): boolean {
    const request = this.#states.get(port)?.request;
    return this.#shut.has(port) && this.#states.has(port) && !(request?.up && request.failed);
  }

  /** The kernel is not at work on it for us. */
  isAnswered(port: string): boolean {
    const state = this.#states.get(port);
    return state !== undefined && state.shutting === 0 && state.request?.until !== Number.POSITIVE_INFINITY;
  }

  /** What stood of a port whose opening we have asked for, and the kernel has not done: the fabric may still be told. */
  openingEntry(port: string): RememberedPort | undefined {
    const request = this.#states.get(port)?.request;
    return request?.up && request.until === Number.POSITIVE_INFINITY ? request.entry : undefined;
  }

  /** Whose opening of the port is under way. */
  openedFor(port: string): string | undefined {
    const request = this.#states.get(port)?.request;
    return request?.up && !this.#shut.has(port) ? request.entry?.group : undefined;
  }

  shutEntry(port: string): RememberedPort | undefined {
    return this.#shut.get(port);
  }

  notShut(ports: readonly string[]): readonly string[] {
    return ports.filter((port) => !this.#shut.has(port));
  }

  *shutBy(group: string, side: Side): Iterable<RememberedPort> {
    for (const entry of this.#shut.values()) {
      if (entry.group === group && entry.side === side) yield entry;
    }
  }

  shutEntries(): Iterable<RememberedPort> {
    return this.#shut.values();
  }

  requestShut(port: string, group: string, side: Side, reason: string, now: Instant): void {
    this.#shut.set(port, { port, group, side, since: now, reason, restored: false });
    this.#request(port, false);
    this.#version++;
  }

  requestOpen(port: string): void {
    const entry = this.#shut.get(port);
    this.#forget(port);
    this.#request(port, true, entry);
  }

  reassign(port: string, group: string): void {
    const entry = this.#shut.get(port);
    if (!entry) return;
    this.#shut.set(port, { ...entry, group });
    this.#version++;
  }

  acknowledged(ports: readonly string[], up: boolean, now: Instant): void {
    for (const port of ports) {
      const request = this.#answered(port, up);
      if (request?.up !== up) continue;
      request.until = now + SETTLE;
      // Opened: only now it need not be remembered any more.
      if (request.entry && !this.#shut.has(port)) this.#version++;
    }
  }

  /** A refused opening leaves the port ours; a refused shutting is judged, and asked again, after a while. */
  failed(ports: readonly string[], up: boolean, now: Instant): void {
    for (const port of ports) {
      const request = this.#answered(port, up);
      if (request?.up !== up) continue;
      request.failed = true;
      request.until = now + RETRY;
      if (up && request.entry && !this.#shut.has(port)) {
        this.#shut.set(port, request.entry);
        this.#version++;
      }
    }
  }

  /** The request that this answers, if it is the last one of its port. */
  #answered(port: string, up: boolean): PortState['request'] {
    const state = this.#states.get(port);
    if (!state || up || state.shutting === 0) return state?.request;
    state.shutting--;
    if (state.shutting > 0) return undefined;
    // An opening that was asked later has failed by now: the port is judged by this one.
    if (this.#shut.has(port))
      state.request ??= { up, until: Number.POSITIVE_INFINITY, failed: false, entry: undefined };
    return state.request;
  }

  /** Judges the ports whose window has ended; `consider` hears when the next one ends. */
  settle(now: Instant, consider: (at: Instant) => void): Judgement[] {
    const judgements: Judgement[] = [];
    for (const [port, state] of this.#states) {
      if (!state.request) continue;
      if (state.request.until > now) {
        if (Number.isFinite(state.request.until)) consider(state.request.until);
        continue;
      }
      const { up, failed } = state.request;
      state.request = undefined;
      if (failed && state.adminUp) {
        // Refused shutting: not ours after all, the group asks again. Refused opening that came true: good, unless a
        // shutting of before it still comes.
        if (state.shutting === 0) this.#forget(port);
        continue;
      }
      if (up) continue;
      const judgement = this.#judge(port, state);
      if (judgement) judgements.push(judgement);
    }
    return judgements;
  }

  restore(ports: readonly RememberedPort[]): void {
    for (const port of ports) this.#shut.set(port.port, { ...port, restored: !this.#states.has(port.port) });
    this.#version++;
  }

  /**
   * What must survive a crash: the ports that are shut by us, and those whose opening the driver has not carried out yet
   * (it may take its time, for a make-before-break).
   */
  remembered(): Memory['ports'] {
    const opening = [...this.#states.values()].flatMap(({ request }) =>
      request?.entry && request.until === Number.POSITIVE_INFINITY && !this.#shut.has(request.entry.port)
        ? [request.entry]
        : [],
    );
    return [...this.#shut.values(), ...opening].map(({ port, group, side, since, reason }) => ({
      port,
      group,
      side,
      since,
      reason,
    }));
  }

  #judge(port: string, state: PortState): Judgement | undefined {
    const entry = this.#shut.get(port);
    if (!entry) return undefined;
    if (!state.adminUp) {
      if (entry.restored) this.#shut.set(port, { ...entry, restored: false });
      return undefined;
    }
    this.#forget(port);
    return { kind: entry.restored ? 'goneFromMemory' : 'openedByOther', port, group: entry.group };
  }

  #request(port: string, up: boolean, entry?: ShutEntry): void {
    const state = this.#states.get(port);
    // Infinity: until acknowledged or refused.
    if (!state) return;
    state.request = { up, until: Number.POSITIVE_INFINITY, failed: false, entry };
    if (!up) state.shutting++;
  }

  #forget(port: string): void {
    if (this.#shut.delete(port)) this.#version++;
  }
}
