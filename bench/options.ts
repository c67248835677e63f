export interface BenchOptions {
  /** How often; undefined: the benchmark's own default. */
  readonly runs: number | undefined;
  /** Executable of the agent to measure. */
  readonly agent: string;
  /** Folder for CPU profiles of the agent, where the benchmark makes one. */
  readonly profile?: string | undefined;
  /** Which way to flap, for `endurance`. */
  readonly flap?: 'port' | 'move' | 'silent' | undefined;
  onProgress(message: string): void;
}
