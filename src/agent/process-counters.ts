/**
 * What this process costs, in octets and milliseconds since its start; busy: time in which the event loop did not wait.
 * A gauge of heap and resident memory beside the tables' own sizes tells a leak from a fabric that grew.
 */
export function processCounters(): Record<string, number> {
  const { rss, heapUsed, heapTotal, external } = process.memoryUsage();
  const { user, system } = process.cpuUsage();
  return {
    resident: rss,
    heapUsed,
    heapTotal,
    external,
    userMs: Math.round(user / 1000),
    systemMs: Math.round(system / 1000),
    loopBusyMs: Math.round(performance.eventLoopUtilization().active),
  };
}
