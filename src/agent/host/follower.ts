import type { Clock, Instant, Timer } from '../../model/clock.ts';
import type { OverlayChange, OverlayProjection, OverlayState } from '../../model/overlay.ts';

const RETRY = 2_000;

/**
 * Leads a projection after the table: one call at a time; what changes meanwhile, or was refused, is in the next.
 */
export class Follower {
  readonly #projection: OverlayProjection;
  readonly #after: readonly Follower[];
  readonly #clock: Clock;
  readonly #onRefused: (error: Error) => void;
  readonly #onBack: () => void;
  #waiting: readonly OverlayChange[] = [];
  #state: OverlayState | undefined;
  #running: Promise<void> | undefined;
  #retry: Timer | undefined;
  #refusal: { readonly message: string; readonly since: Instant } | undefined;
  #closed = false;
  #applied = 0;
  #refused = 0;

  constructor(options: {
    readonly projection: OverlayProjection;
    readonly clock: Clock;
    /** Those that have to follow first. */
    readonly after: readonly Follower[];
    /** Once for each time that it falls behind. */
    readonly onRefused: (error: Error) => void;
    readonly onBack: () => void;
  }) {
    this.#projection = options.projection;
    this.#after = options.after;
    this.#clock = options.clock;
    this.#onRefused = options.onRefused;
    this.#onBack = options.onBack;
  }

  /** While it is behind. */
  get refusal(): { readonly message: string; readonly since: Instant } | undefined {
    return this.#refusal;
  }

  counters(): Record<string, number> {
    return { applied: this.#applied, refused: this.#refused, waiting: this.#waiting.length };
  }

  push(state: OverlayState, changes: readonly OverlayChange[]): void {
    if (this.#closed || changes.length === 0) return;
    this.#state = state;
    this.#waiting = merge(this.#waiting, changes);
    this.#retry?.cancel();
    this.#run();
  }

  /** It has followed, or refused. */
  async settled(): Promise<void> {
    while (this.#running) await this.#running;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#retry?.cancel();
    await this.settled();
  }

  #run(): void {
    if (this.#running || this.#closed) return;
    this.#running = this.#apply().finally(() => {
      this.#running = undefined;
      if (this.#waiting.length > 0 && !this.#refusal) this.#run();
    });
  }

  async #apply(): Promise<void> {
    for (const other of this.#after) await other.settled();
    const changes = this.#waiting;
    this.#waiting = [];
    try {
      await this.#projection.apply(this.#state!, changes);
      this.#applied++;
      if (this.#refusal) this.#onBack();
      this.#refusal = undefined;
    } catch (error) {
      this.#refused++;
      this.#waiting = merge(changes, this.#waiting);
      if (!this.#refusal) this.#onRefused(error as Error);
      this.#refusal = { message: (error as Error).message, since: this.#refusal?.since ?? this.#clock.now() };
      if (!this.#closed) this.#retry = this.#clock.schedule(this.#clock.now() + RETRY, () => this.#run());
    }
  }
}

type ItemChange = Extract<OverlayChange, { readonly op: string }>;
const KINDS = ['network', 'instance', 'remote', 'service'];

/** Two lists of changes as one: of each item its removals, as it was first and as it was last, and its last addition. */
function merge(first: readonly OverlayChange[], then: readonly OverlayChange[]): readonly OverlayChange[] {
  if (first.length === 0) return then;
  const items = new Map<string, { removed?: readonly ItemChange[]; added?: ItemChange | undefined }>();
  const flat = new Set<'policy' | 'snat'>();
  for (const change of [...first, ...then]) {
    if (!('op' in change)) {
      flat.add(change.kind);
      continue;
    }
    const key = keyOf(change);
    const known = items.get(key) ?? {};
    if (change.op === 'added') known.added = change;
    else {
      // Also of what was to be added: it may have been refused in part, and part of it stands.
      known.removed = [...(known.removed?.slice(0, 1) ?? []), change];
      known.added = undefined;
    }
    items.set(key, known);
  }
  const sorted = (op: 'removed' | 'added') =>
    [...items.values()].flatMap((item) => item[op] ?? []).sort((a, b) => KINDS.indexOf(a.kind) - KINDS.indexOf(b.kind));
  return [...sorted('removed').reverse(), ...sorted('added'), ...[...flat].map((kind) => ({ kind }))];
}

const keyOf = ({ kind, item }: ItemChange): string =>
  `${kind} ${'host' in item ? `${item.network}/${item.host}` : item.name}`;
