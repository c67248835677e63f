import type { PortDriver } from '../../model/ports.ts';

/** With thousands of routes in its table the kernel takes a millisecond and more for each port. */
const AT_ONCE = 2;
/** So many are shut in one go: nothing has to wait for them. */
const FEW = 8;

/**
 * Shuts all ports in this turn; `between` runs after each few of them, for what must not wait for the last. Rejects as
 * `setAdmin` does, with an AggregateError of the ports that were refused.
 */
export async function shutInParts(driver: PortDriver, ports: readonly string[], between: () => void): Promise<void> {
  if (ports.length <= FEW) return driver.setAdmin(ports, false);
  const answers: Promise<void>[] = [];
  for (let start = 0; start < ports.length; start += AT_ONCE) {
    answers.push(driver.setAdmin(ports.slice(start, start + AT_ONCE), false));
    between();
  }
  const outcomes = await Promise.allSettled(answers);
  const errors: Error[] = outcomes.flatMap((outcome) => {
    if (outcome.status === 'fulfilled') return [];
    const reason: unknown = outcome.reason;
    return reason instanceof AggregateError ? reason.errors : [reason];
  });
  if (errors.length > 0) throw new AggregateError(errors, errors.map(({ message }) => message).join('; '));
}
