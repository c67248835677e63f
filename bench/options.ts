export interface BenchOptions {
  /** How often; undefined: the benchmark's own default. */
  readonly runs: number | undefined;
  /** Executable of the agent to measure. */
  readonly agent: string;
  onProgress(message: string): void;
}
