import type { Clock, Instant } from '../../src/model/clock.ts';

/** Time passes when the test says so. */
export class VirtualClock implements Clock {
  time = 0;
  readonly timers = new Set<{ at: Instant; run: () => void }>();
  now = () => this.time;
  schedule(at: Instant, run: () => void) {
    const timer = { at, run };
    this.timers.add(timer);
    return { cancel: () => this.timers.delete(timer) };
  }
  advance(ms: number): void {
    const end = this.time + ms;
    for (;;) {
      const [next] = [...this.timers].sort((a, b) => a.at - b.at);
      if (!next || next.at > end) break;
      this.time = Math.max(this.time, next.at);
      this.timers.delete(next);
      next.run();
    }
    this.time = end;
  }
}
