import {
  type FastPath,
  openFastPath,
  removeFastPath,
  standsFastPath,
  withAnotherPort,
} from '../../../vswitch-bridge/fastpath/index.ts';
import type { OpenHostPart } from '../part.ts';

/** Packets of known connections go round the slow path; without it all works the same. */
export const openFastPathPart: OpenHostPart = async ({ config, clock, log, state, kernel, record }) => {
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
    crowded: (crowded, { known, room }) =>
      record({
        type: 'fastpath.peers',
        severity: crowded ? 'warning' : 'info',
        message: crowded ? manyHosts(known, room) : `the fast path has room again: ${known} of ${room} remote hosts`,
        fields: { known, room },
      }),
    mended: (devices) =>
      record({
        type: 'fastpath.programs',
        severity: 'warning',
        message: `somebody else had removed programs or maps of the fast path, they are back: ${devices.join(', ') || pinned}`,
        fields: { devices },
      }),
  });
  return {
    apply: (state, changes) => fastPath.apply(state, changes),
    counters: () => {
      const { programs, ageing, peers, invalidated } = fastPath.counters();
      const { known, room, left } = peers;
      return { ...byProgram(programs), ageing, peers: { known, room, left }, invalidated };
    },
    problems: () => fastPath.status().problems,
    warnings: () => {
      const others = withAnotherPort(state().networks.values());
      const { known, room, crowded } = fastPath.counters().peers;
      return [
        ...(others.length === 0
          ? []
          : [`${others.join(', ')}: no fast path, the tunnel's UDP port is not that of the other networks`]),
        ...(crowded ? [manyHosts(known, room)] : []),
      ];
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

const pinned = 'what was pinned for the next agent';

const manyHosts = (known: number, room: number): string =>
  `${known} of the ${room} remote hosts are known that the fast path has room for: beyond that, new ones stay with the slow path`;

type Programs = ReturnType<FastPath['counters']>['programs'];

const byProgram = (programs: Programs) =>
  Object.fromEntries(Object.entries(programs).map(([name, { counts, ...more }]) => [name, { ...counts, ...more }]));

/** A listing of more is nobody's to read. */
const MOST = 10_000;

function limitOf(query: URLSearchParams): number {
  const limit = Number(query.get('limit') ?? 1000);
  return Number.isInteger(limit) && limit > 0 ? Math.min(limit, MOST) : 1000;
}
