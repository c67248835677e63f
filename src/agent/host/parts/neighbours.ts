import { TunnelNeighbours } from '../../../vswitch-bridge/neighbours/index.ts';
import { everything } from '../everything.ts';
import type { OpenHostPart } from '../part.ts';

/** Tunnel neighbours that are never missing. The fast path hears first when one has another MAC, or none. */
export const openNeighbours: OpenHostPart = async ({ config, clock, log, state, underlayChanged }) => {
  const { proactive, poll, hold, ovs } = config.neighbours;
  if (!proactive && !hold.enabled && !ovs) return undefined;
  const neighbours = await TunnelNeighbours.open({
    clock,
    log,
    source: config.underlay.address,
    proactive,
    poll,
    hold,
    ...(ovs ? { ovs } : {}),
  });
  neighbours.addSink({
    name: 'fast path',
    apply: (change) => {
      if (change.op === 'removed' || change.why !== 'confirmed') underlayChanged(change.to.remotes);
    },
  });
  await neighbours.apply(state(), everything(state()));
  return {
    apply: (state, changes) => neighbours.apply(state, changes),
    counters: () => neighbours.counters(),
    warnings: () => {
      const lost = neighbours.unroutable();
      return lost.length === 0 ? [] : [`no route leads to ${lost.slice(0, 5).join(', ')}: nothing can be sent there`];
    },
    detail: () => {
      const all = neighbours.view();
      return { neighbours: all.length, resolved: all.filter(({ mac }) => mac !== undefined).length };
    },
    views: { neighbours: () => neighbours.view() },
    stats: () => neighbours.counters(),
    close: () => neighbours.close(),
  };
};
