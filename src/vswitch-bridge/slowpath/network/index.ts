/**
 * The slow path's layout in the kernel: a bridge and a tunnel port for each virtual network, its instances' devices in the
 * bridge, routing between networks. docs/slow-path.md has the pictures and the reasons.
 *
 * How the agent plugs it in:
 *
 * ```ts
 * const network = await NetworkProjection.open({ clock, log, state: table.state, memory });   // adopts what stands
 * table.follow(network);                            // apply(state, changes) after every change of the table
 * network.view();                                   // for `host status`, `doctor`
 * await network.close();                            // leaves everything; close({ purge: true }) removes everything
 * ```
 *
 * - Policy and fast path come after it in the order of projections: bridges and ports stand when they are called.
 * - `memory` is a small file of the agent's state directory (SysctlMemory): what settings were before us.
 * - `peerless cleanup` of a host: `findLayout`, `removeLayout`, and `new Sysctls(undefined, memory).putBack()`.
 * - `KernelOverlayWatch` reads and follows the networks of another (flannel, a hand-made bridge): they have the origin `kernel`, and this projection leaves networks, instances and remotes of that origin alone.
 * - What nftables must add (it is the policy's): ARP for gateways and services never crosses a tunnel port; packets from
 *   the underlay whose connection belongs to a network of `LayoutView.networks[].overlaps` get the mark
 *   `networkMark(vni)` before they are routed, and so do packets from its bridge that are for the host itself (hook
 *   input), whose answers take it over by fwmark_reflect.
 */
export { KernelOverlayWatch } from './kernel-overlay-watch.ts';
export { findLayout, removeLayout } from './leftovers.ts';
export { bridgeName, networkMark, routerMac, tunnelName } from './names.ts';
export { NetworkProjection } from './projection.ts';
export { type SysctlMemory, type SysctlRecord, Sysctls } from './sysctls.ts';
