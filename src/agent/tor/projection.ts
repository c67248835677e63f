import type { Clock, Instant } from '../../model/clock.ts';
import type { Announcer, HostDelta } from '../../model/hosts.ts';
import type { EventLog } from '../events.ts';
import type { Failovers, FailoverTrace } from '../failovers.ts';
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
 * - A new host gets its kernel route first: the fabric must not send what we could not deliver yet.
 *
 * Everything up to the last announcer happens in the turn of the event. Events and traces are written after it.
 */
export class Projection {
  readonly #clock: Clock;
  readonly #kernel: KernelProjection;
  readonly #announcers: readonly NamedAnnouncer[];
  readonly #failovers: Failovers;
  readonly #events: EventLog;
  readonly #removals: Removals;
  #turn: FailoverTrace | undefined;
  #shutting = false;

  constructor(options: {
    clock: Clock;
    kernel: KernelProjection;
    announcers: readonly Announcer[];
    failovers: Failovers;
    events: EventLog;
  }) {
    this.#clock = options.clock;
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

  /** Nothing is left for a later turn. */
  finish(): void {
    this.#removals.finish();
  }

  close(): void {
    this.finish();
    this.#kernel.close?.();
  }

  apply(delta: HostDelta, cause: DeltaCause, at: Instant): void {
    const trace = this.#turn ?? this.#failovers.begin(cause.reason, at, cause.port);
    trace.step('host table');
    const withdrawing = delta.announced.length === 0;
    const yielding = cause.kind === 'yielding';
    // In the order in which the table decided.
    if (!withdrawing) this.#removals.finish();
    const turned = cause.kind === 'left';
    const lastBytes = new Map<string, Instant>();
    const tell = (part: HostDelta, to: (announcer: Announcer) => boolean): void => {
      for (const { announcer, firstByte, lastByte } of this.#announcers) {
        if (!to(announcer)) continue;
        const report = announcer.apply(part);
        if (report.firstByteAt !== undefined) trace.step(firstByte, report.firstByteAt);
        if (report.lastByteAt !== undefined) lastBytes.set(lastByte, report.lastByteAt);
      }
    };
    const portions = inPortions(delta);
    const cut = portions.length > 1;
    if (cut && yielding) tell(delta, (announcer) => announcer.whole === true);
    for (const portion of portions) {
      if (!withdrawing) this.#kernel.apply(yielding ? withoutYielding(portion) : portion);
      tell(portion, (announcer) => !cut || announcer.whole !== true);
      // The way by the fabric stands before ours leaves it.
      if (yielding) this.#kernel.apply({ withdrawn: [], announced: portion.announced.filter(({ yields }) => yields) });
    }
    if (cut && !yielding) tell(delta, (announcer) => announcer.whole === true);
    for (const [lastByte, at] of lastBytes) trace.step(lastByte, at);
    const inKernel = (): void => this.#traceKernel(trace);
    if (!withdrawing) inKernel();
    else {
      this.#removals.add(delta.withdrawn, turned, inKernel);
      if (!this.#turn && !this.#shutting) this.#removals.begin();
    }
    trace.hosts += delta.withdrawn.length + delta.announced.length;
    this.#afterTheTurn(delta, cause, at, trace, this.#turn !== undefined);
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

const withoutYielding = (delta: HostDelta): HostDelta => ({
  ...delta,
  announced: delta.announced.filter(({ yields }) => !yields),
});

/** As many hosts as one UPDATE holds. */
const PORTION = 800;

/**
 * What is withdrawn goes with the first portion. What is announced is in the kernel before it is on the wire: with ten
 * thousand hosts that come back at once the fabric begins with the first of them while the kernel still takes the others.
 */
function inPortions(delta: HostDelta): HostDelta[] {
  const { withdrawn, announced } = delta;
  if (announced.length <= PORTION) return [delta];
  return Array.from({ length: Math.ceil(announced.length / PORTION) }, (_, index) => ({
    withdrawn: index === 0 ? withdrawn : [],
    announced: announced.slice(index * PORTION, (index + 1) * PORTION),
  }));
}

function some(addresses: readonly string[]): string {
  return addresses.length <= 4
    ? addresses.join(' ')
    : `${addresses.slice(0, 3).join(' ')} and ${addresses.length - 3} more`;
}
