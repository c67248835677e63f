import {
  type FastPath,
  openFastPath,
  removeFastPath,
  standsFastPath,
  withAnotherPort,
} from '../../../vswitch-bridge/fastpath/index.ts';
import type { OpenHostPart } from '../part.ts';

/** Packets of known connections go round the slow path; without it all works the same. */
export const openFastPathPart: OpenHostPart = async ({ config, clock, log, state, kernel }) => {
  const { mode, ...settings } = config.fastPath;
  if (mode === 'off') {
    // Of an agent that had one.
    if (standsFastPath()) removeFastPath({ devices: [...kernel.ports()].map(({ ifindex }) => ifindex) });
    return undefined;
  }
  const fastPath = await openFastPath({
    settings: { mode, ...settings },
    state: state(),
    links: kernel,
    rtnetlink: kernel.rtnetlink,
    routes: await kernel.watchRoutes(),
    clock,
    log,
  });
  return {
    apply: (state, changes) => fastPath.apply(state, changes),
    counters: () => {
      const { programs, ageing, invalidated } = fastPath.counters();
      return { ...byProgram(programs), ageing, invalidated };
    },
    problems: () => fastPath.status().problems,
    warnings: () => {
      const others = withAnotherPort(state().networks.values());
      if (others.length === 0) return [];
      return [`${others.join(', ')}: no fast path, the tunnel's UDP port is not that of the other networks`];
    },
    detail: () => {
      const { mode, adopted, attachments } = fastPath.status();
      return { mode, adopted, devices: new Set(attachments.map((one) => one.interface)).size };
    },
    views: {
      cache: () => fastPath.cache(),
      flows: (query) => fastPath.flows(limitOf(query)),
    },
    stats: () => ({ ...fastPath.status(), ...fastPath.counters() }),
    ruleCounters: () =>
      new Map(
        fastPath
          .rules()
          .map(({ name, deniedPackets, deniedBytes, limitedPackets, limitedBytes }) => [
            name,
            { packets: deniedPackets + limitedPackets, bytes: deniedBytes + limitedBytes },
          ]),
      ),
    relearn: () => fastPath.relearn(),
    underlayChanged: (hosts) => fastPath.underlayChanged(hosts),
    close: (options) => fastPath.close(options),
  };
};

type Programs = ReturnType<FastPath['counters']>['programs'];

const byProgram = (programs: Programs) =>
  Object.fromEntries(Object.entries(programs).map(([name, { counts, ...more }]) => [name, { ...counts, ...more }]));

/** A listing of more is nobody's to read. */
const MOST = 10_000;

function limitOf(query: URLSearchParams): number {
  const limit = Number(query.get('limit') ?? 1000);
  return Number.isInteger(limit) && limit > 0 ? Math.min(limit, MOST) : 1000;
}
