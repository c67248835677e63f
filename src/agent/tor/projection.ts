import type { Address } from '../../model/address.ts';
import type { Clock, Instant } from '../../model/clock.ts';
import type { Announcer, HostDelta, HostRoute } from '../../model/hosts.ts';
import type { EventLog } from '../events.ts';
import type { Failovers, FailoverTrace } from '../failovers.ts';
import { Announcing, PORTION, type Portion } from './announcing.ts';
import { Removals } from './removals.ts';

/** Why the host table changed, as far as the projection needs to know. */
export interface DeltaCause {
  readonly kind: string;
  readonly port?: string;
  readonly reason: string;
}

/** The kernel's side: it takes no part in the wire's report, but says when the kernel has answered. */
export interface KernelProjection {
  apply(delta: HostDelta, turned?: boolean): void;
  settled(): Promise<void>;
  close?(): void;
}

/** Causes that move somebody's traffic; the others (a host first heard at start, a settled claim) are daily business. */
const FAILOVER_CAUSES = new Set(['returning', 'stayedAway', 'portDown', 'blocked', 'silent', 'rival', 'lost', 'moved']);

/** What becomes of one delta. */
interface Story {
  readonly trace: FailoverTrace;
  /** The way by the fabric stands before ours leaves it. */
  readonly yielding: boolean;
  /** By the name of the step. */
  readonly lastBytes: Map<string, Instant>;
  /** Still to be told. */
  withdrawn: readonly Address[];
  /** Who hears of all in one message. */
  readonly apart: readonly NamedAnnouncer[];
}

interface NamedAnnouncer {
  readonly announcer: Announcer;
  readonly firstByte: string;
  readonly lastByte: string;
}

/**
 * Carries each delta of the host table to the wire and to the kernel, in the order that costs the least traffic:
 *
 * - A withdrawal goes to the fabric before anything else: every microsecond of it is outage. Ports that have to be shut
 *   are shut next, for that is what their servers wait for; the kernel's routes go last (see removals.ts).
 * - A new host gets its kernel route first: the fabric must not send what we could not deliver yet. Where thousands come in
 *   one delta, the first few hundred are announced in its turn, and the others in turns after it (see announcing.ts).
 *
 * Everything else up to the last announcer happens in the turn of the event. Events and traces are written after it.
 */
export class Projection {
  readonly #clock: Clock;
  readonly #kernel: KernelProjection;
  readonly #announcers: readonly NamedAnnouncer[];
  readonly #failovers: Failovers;
  readonly #events: EventLog;
  readonly #removals: Removals;
  readonly #announcing: Announcing<Story>;
  readonly #applied: (part: HostDelta) => void;
  #turn: FailoverTrace | undefined;
  #shutting = false;

  constructor(options: {
    clock: Clock;
    kernel: KernelProjection;
    announcers: readonly Announcer[];
    failovers: Failovers;
    events: EventLog;
    /** Kernel and fabric have been told this part of a delta. */
    applied?(part: HostDelta): void;
  }) {
    this.#clock = options.clock;
    this.#announcing = new Announcing(options.clock, (portion, story) => this.#tell(portion, story));
    this.#applied = (part) => options.applied?.(part);
    this.#kernel = options.kernel;
    this.#removals = new Removals((withdrawn, turned) => this.#kernel.apply({ withdrawn, announced: [] }, turned));
    this.#failovers = options.failovers;
    this.#events = options.events;
    this.#announcers = options.announcers.map((announcer) => ({
      announcer,
      firstByte: `${announcer.name} first byte`,
      lastByte: `${announcer.name} last byte`,
    }));
  }

  /** Runs `work` so that every delta that it causes is part of one trace; keeps the trace if anything came of it. */
  inTurn(cause: string, at: Instant, port: string | undefined, work: (trace: FailoverTrace) => void): void {
    const outer = this.#turn;
    const trace = outer ?? this.#failovers.begin(cause, at, port);
    this.#turn = trace;
    try {
      work(trace);
    } finally {
      this.#turn = outer;
      if (!outer) this.#removals.begin();
    }
    if (!outer && trace.hosts > 0) this.#failovers.keep(trace);
  }

  /** A step of the failover that is being handled, if one is. */
  step(name: string): void {
    this.#turn?.step(name);
  }

  /** What `work` withdraws is behind ports that are shut next in this turn; `portsShut` says that they are. */
  beforeShutting(work: () => void): void {
    this.#shutting = true;
    // Nothing was shut after all.
    queueMicrotask(() => this.#release());
    work();
  }

  portsShut(): void {
    this.step('ports shut');
    this.#release();
  }

  #release(): void {
    if (!this.#shutting) return;
    this.#shutting = false;
    if (!this.#turn) this.#removals.begin();
  }

  /** There are hosts that were to be announced, and are not yet. */
  get announcing(): boolean {
    return this.#announcing.size > 0;
  }

  /** Nothing is left for a later turn. */
  finish(): void {
    this.#announcing.finish();
    this.#removals.finish();
  }

  /** Nobody is announced any more. */
  leave(): void {
    this.#announcing.clear();
  }

  close(): void {
    this.leave();
    this.finish();
    this.#kernel.close?.();
  }

  apply(delta: HostDelta, cause: DeltaCause, at: Instant): void {
    const trace = this.#turn ?? this.#failovers.begin(cause.reason, at, cause.port);
    trace.step('host table');
    if (delta.announced.length === 0) this.#withdraw(delta.withdrawn, cause.kind === 'left', trace);
    else this.#announce(delta, cause.kind, trace);
    trace.hosts += delta.withdrawn.length + delta.announced.length;
    this.#afterTheTurn(delta, cause, at, trace, this.#turn !== undefined);
  }

  #withdraw(withdrawn: readonly Address[], turned: boolean, trace: FailoverTrace): void {
    const lastBytes = new Map<string, Instant>();
    const delta = { withdrawn, announced: [] };
    for (const each of this.#announcers) tell(each, delta, trace, lastBytes);
    this.#announcing.overtaken(withdrawn);
    this.#applied(delta);
    traceLastBytes(trace, lastBytes);
    this.#removals.add(withdrawn, turned, () => this.#traceKernel(trace));
    if (!this.#turn && !this.#shutting) this.#removals.begin();
  }

  #announce(delta: HostDelta, kind: string, trace: FailoverTrace): void {
    const { withdrawn, announced } = delta;
    this.#announcing.overtaken(withdrawn);
    this.#announcing.overtaken(addressesOf(announced));
    const cut = announced.length > PORTION;
    const story: Story = {
      trace,
      yielding: kind === 'yielding',
      lastBytes: new Map(),
      withdrawn,
      apart: cut ? this.#announcers.filter(({ announcer }) => announcer.whole) : [],
    };
    const { apart, lastBytes } = story;
    if (story.yielding) for (const each of apart) tell(each, delta, trace, lastBytes);
    // Where the ports are shut next, or a neighbour hears of no second message, nothing can wait.
    const now = kind === 'leaving' || apart.length > 0 ? announced.length : PORTION;
    const over = (): void => {
      traceLastBytes(trace, lastBytes);
      this.#traceKernel(trace);
    };
    const later = announced.slice(now);
    if (later.length > 0) this.#announcing.add(later, story, over);
    for (let from = 0; from < now && from < announced.length; from += PORTION)
      this.#announcing.tell(announced.slice(from, from + PORTION), story);
    if (!story.yielding) for (const each of apart) tell(each, delta, trace, lastBytes);
    if (later.length === 0) over();
  }

  /** What is withdrawn goes with the first portion. Asked anew each time: a listener may say something newer of a host. */
  #tell(portion: Portion, story: Story): void {
    const { trace, yielding, lastBytes, apart, withdrawn } = story;
    story.withdrawn = [];
    const { announced } = portion;
    if (withdrawn.length + announced.length === 0) return;
    this.#removals.overtaken(addressesOf(announced));
    this.#kernel.apply({ withdrawn, announced: yielding ? announced.filter(({ yields }) => !yields) : announced });
    for (const each of this.#announcers)
      if (!apart.includes(each)) tell(each, { withdrawn, announced: portion.announced }, trace, lastBytes);
    if (yielding) this.#kernel.apply({ withdrawn: [], announced: portion.announced.filter(({ yields }) => yields) });
    this.#applied({ withdrawn, announced: portion.announced });
  }

  #afterTheTurn(delta: HostDelta, cause: DeltaCause, at: Instant, trace: FailoverTrace, kept: boolean): void {
    const failover = FAILOVER_CAUSES.has(cause.kind) || delta.announced.some((host) => host.level > 0);
    if (failover && !kept) this.#failovers.keep(trace);
    setImmediate(() => {
      const { withdrawn, announced } = delta;
      const what = [
        ...(withdrawn.length > 0 ? [`withdrew ${some(withdrawn)}`] : []),
        ...(announced.length > 0 ? [`announced ${some(announced.map((host) => host.address))}`] : []),
      ].join(', ');
      this.#events.record({
        type: `hosts.${cause.kind}`,
        message: `${what}: ${cause.reason}`,
        at,
        fields: {
          ...(cause.port === undefined ? {} : { port: cause.port }),
          withdrawn: withdrawn.slice(0, 32),
          announced: announced.slice(0, 32).map((host) => host.address),
        },
      });
    });
  }

  #traceKernel(trace: FailoverTrace): void {
    this.#kernel.settled().then(
      () => trace.step('kernel routes', this.#clock.now()),
      (error: Error) => this.#events.record({ type: 'kernel.error', severity: 'error', message: error.message }),
    );
  }
}

const addressesOf = (routes: readonly HostRoute[]): Address[] => routes.map(({ address }) => address);

function tell(
  { announcer, firstByte, lastByte }: NamedAnnouncer,
  delta: HostDelta,
  trace: FailoverTrace,
  lastBytes: Map<string, Instant>,
): void {
  const { firstByteAt, lastByteAt } = announcer.apply(delta);
  if (firstByteAt !== undefined) trace.step(firstByte, firstByteAt);
  if (lastByteAt !== undefined) lastBytes.set(lastByte, lastByteAt);
}

function traceLastBytes(trace: FailoverTrace, lastBytes: ReadonlyMap<string, Instant>): void {
  for (const [lastByte, at] of lastBytes) trace.step(lastByte, at);
}

function some(addresses: readonly string[]): string {
  return addresses.length <= 4
    ? addresses.join(' ')
    : `${addresses.slice(0, 3).join(' ')} and ${addresses.length - 3} more`;
}
