/**
 * The fast path (documents 001 and 003): packets of known connections go round the bridge, the tunnel device, conntrack and
 * nftables. Four eBPF programs stand on the instances' devices and on the underlay. They fill their caches themselves, by
 * watching how the slow path sends the first packets of a connection; so the agent writes nothing but who the instances are,
 * the rules, and numbers (generations) by which what was learned is made invalid. Without it all works the same, slower.
 *
 * Use, by whoever composes the host role:
 *
 *     const fastPath = await openFastPath({ settings, state, links: kernel, rtnetlink: kernel.rtnetlink,
 *       routes: await kernel.watchRoutes(), clock, log });
 *     await slowPath.apply(state, changes);
 *     await fastPath.apply(state, changes);    // after the slow path: what is learned anew is learned from it
 *     await fastPath.close({ keep: true });    // the agent goes, the data path stays; `keep: false` leaves nothing
 *
 * Open it after the slow path has been set up the first time. When it throws (no libbpf, a verifier that refuses), the host
 * role goes on without. It follows links and routes by itself; `underlayChanged`, `portChanged` and `relearn` are for what
 * only others see: a MAC that has moved to another host, a peer's restart. Every one of these is effective when it returns.
 *
 * bpf/ has the programs (bpf/layout.h what they share with us), maps/ the same in TypeScript, loader/ puts them into the
 * kernel and finds them again, rules/ compiles the policy, ageing/ removes what is over.
 */
export { type FastPathOptions, type LinkFacts, openFastPath, removeFastPath, standsFastPath } from './open.ts';
export { withAnotherPort } from './tunnel-port.ts';
export type {
  CacheView,
  FastPath,
  FastPathCounters,
  FastPathSettings,
  FastPathStatus,
  FlowDirection,
  FlowView,
  InstanceEntry,
  KeyView,
  PeerEntry,
  ProgramCounters,
  RuleView,
  Tuple,
  WayView,
} from './types.ts';
