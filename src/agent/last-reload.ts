import type { EventLog } from './events.ts';

/** What became of the last file that the agent was given while it ran: one that is refused is still what a start would read. */
export class LastReload {
  readonly #events: EventLog;
  #refusal: string | undefined;

  constructor(events: EventLog) {
    this.#events = events;
  }

  /** Rejects as `work` does. */
  async attempt<T>(work: () => Promise<T>): Promise<T> {
    try {
      const taken = await work();
      this.#refusal = undefined;
      return taken;
    } catch (error) {
      const problems = (error as Error).message.split('\n');
      this.#refusal = problems.length > 1 ? `${problems[0]}, and ${problems.length - 1} more` : problems[0];
      this.#events.record({
        type: 'config.refused',
        severity: 'warning',
        message: `the new configuration was refused, nothing was changed: ${this.#refusal}`,
        fields: { problems },
      });
      throw error;
    }
  }

  warnings(): string[] {
    if (this.#refusal === undefined) return [];
    return [`the last reload was refused, and what was there before runs (peerless config check): ${this.#refusal}`];
  }
}
