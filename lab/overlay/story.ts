/**
 * What happens to the whole system, step by step, and what each step cost: packets between hosts (the underlay's own loss)
 * beside packets between the containers on them.
 */
import { Faults } from '../faults.ts';
import { monotonic } from '../monotonic.ts';
import { sleep } from '../processes.ts';
import { compareStreams, excesses, type PairLoss } from './compare.ts';
import type { OverlayLab } from './lab.ts';

export interface StepResult {
  readonly step: string;
  /** ms of CLOCK_MONOTONIC */
  readonly at: number;
  readonly pairs: readonly PairLoss[];
  /** No stream of containers lost more than the one of their hosts, but for the error of the sampling. */
  readonly noMore: boolean;
}

const SETTLE = 3000;

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
    const pairs = compareStreams(results);
    return { step, at, pairs, noMore: excesses(pairs).length === 0 };
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
