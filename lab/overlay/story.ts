/**
 * What happens to the whole system, step by step, and what each step cost: packets between hosts (the underlay's own loss)
 * beside packets between the containers on them.
 */
import { Faults } from '../faults.ts';
import { monotonic } from '../monotonic.ts';
import type { ProbeResult } from '../probe/prober.ts';
import { sleep } from '../processes.ts';
import type { OverlayLab } from './lab.ts';

export interface PairLoss {
  /** `C1-C4`. */
  readonly pair: string;
  readonly direction: 'there' | 'back';
  readonly sent: number;
  readonly underlay: number;
  readonly containers: number;
  /** Of the containers' stream: the longest time without a packet, ms. */
  readonly outage: number;
  readonly underlayOutage: number;
}

export interface StepResult {
  readonly step: string;
  /** ms of CLOCK_MONOTONIC */
  readonly at: number;
  readonly pairs: readonly PairLoss[];
  /** No stream of containers lost more than the hosts' own, but for the error of the sampling. */
  readonly equal: boolean;
}

/** Packets: a hole has two edges, and a tunnelled packet is under way a little longer. */
const EDGE = 2;
const SETTLE = 3000;

export function compareStreams(results: readonly ProbeResult[]): readonly PairLoss[] {
  return results
    .filter(({ server }) => server !== server.toLowerCase())
    .map((hosts) => {
      const inside = results.find(
        ({ server, direction }) => server === hosts.server.toLowerCase() && direction === hosts.direction,
      )!;
      return {
        pair: hosts.server,
        direction: hosts.direction === 'to-server' ? 'there' : 'back',
        sent: inside.sent,
        underlay: hosts.lost,
        containers: inside.lost,
        outage: inside.outage,
        underlayOutage: hosts.outage,
      };
    });
}

/**
 * Both streams are sampled once a millisecond, on a busy machine less evenly: what fell due meanwhile leaves together, first
 * one stream's and then the other's. So they can differ by what falls due in the longest pause.
 */
const equal = (results: readonly ProbeResult[]): boolean =>
  results
    .filter(({ server }) => server !== server.toLowerCase())
    .every((hosts) => {
      const inside = results.find(
        ({ server, direction }) => server === hosts.server.toLowerCase() && direction === hosts.direction,
      )!;
      const uneven = Math.ceil(Math.max(hosts.pause, inside.pause) - 1);
      return inside.lost <= hosts.lost + EDGE * Math.max(1, hosts.holes) + uneven;
    });

export class Story {
  readonly #lab: OverlayLab;
  readonly #faults: Faults;

  constructor(lab: OverlayLab) {
    this.#lab = lab;
    this.#faults = new Faults(lab.name);
  }

  close(): void {
    this.#faults.close();
  }

  async #step(step: string, work: () => void | Promise<void>, settle = SETTLE): Promise<StepResult> {
    let at = 0;
    const results = await this.#lab.probing(async () => {
      await sleep(300);
      at = monotonic();
      await work();
      await sleep(settle);
    });
    return { step, at, pairs: compareStreams(results), equal: equal(results) };
  }

  /** Nothing happens. */
  quiet(): Promise<StepResult> {
    return this.#step('nothing happens', () => undefined, 1000);
  }

  /** Figure 7: C4's link to A; figure 10: A's uplink. `meanwhile` begins in the same moment. */
  async linkLost(which: 'A2' | 'A0', meanwhile?: { readonly title: string; readonly work: () => Promise<void> }) {
    const title = which === 'A2' ? "figure 7: C4's link to A fails" : "figure 10: A's uplink fails";
    return this.#step(`${title}${meanwhile ? `, ${meanwhile.title}` : ''}`, async () => {
      this.#faults.cables([which], false);
      await meanwhile?.work();
    });
  }

  async linkBack(which: 'A2' | 'A0'): Promise<StepResult> {
    return this.#step(which === 'A2' ? "C4's link is back" : "A's uplink is back", async () => {
      this.#faults.cables([which], true);
      // The group waits before it opens the ports, and the servers before they go back.
      await sleep(which === 'A0' ? 5000 : 1000);
    });
  }

  /** Planned work on A: its servers move first. */
  drain(): Promise<StepResult> {
    return this.#step('A is drained', () => this.#command(['drain']));
  }

  undrain(): Promise<StepResult> {
    return this.#step('A is back at work', () => this.#command(['undrain']));
  }

  async #command(words: readonly string[]): Promise<void> {
    const { code, stdout, stderr } = await this.#lab.tor('A', words);
    if (code !== 0) throw new Error(`peerless ${words.join(' ')}: ${stdout}${stderr}`);
  }

  rotate(): Promise<StepResult> {
    return this.#step('a new key version, one host after the other', () => this.#lab.rotate(300));
  }
}
