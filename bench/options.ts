export interface BenchOptions {
  /** How often; undefined: the benchmark's own default. */
  readonly runs: number | undefined;
  /** Executable of the agent to measure. */
  readonly agent: string;
  /** Folder for CPU profiles of the agent, where the benchmark makes one. */
  readonly profile?: string | undefined;
  /** Which way to flap, for `endurance`. */
  readonly flap?: 'port' | 'move' | 'silent' | undefined;
  /** Sizes, the smallest first, for `host-rules` and `host-connections`. */
  readonly rules?: readonly number[] | undefined;
  readonly connections?: readonly number[] | undefined;
  onProgress(message: string): void;
}
