/*
 * Port-link groups (R4.4, R4.6, R4.7): the tie between uplinks towards G and downlinks towards servers. `PortLinkGroups`
 * decides, `PortLinkDriver` does; docs/port-link.md says what an operator sees.
 *
 * The agent gives the driver every port change after the host table has had it, the verdicts on uplinks other than
 * carrier (adjacency, nexthop, default-route, bfd), `upstream` (without any routing protocol: ready at once), and `blind`
 * around a netlink resync. It withdraws the hosts when the hook says so.
 */
export { PortLinkDriver, type PortLinkDriverOptions } from './driver.ts';
export { BOUNCE } from './machine/bounced.ts';
export { DRAIN } from './machine/drained.ts';
export { PortLinkGroups } from './machine/groups.ts';
export {
  CONDITIONS,
  type Condition,
  type DownlinkView,
  type GroupState,
  type GroupView,
  type Hold,
  type Memory,
  type PortLinkEffect,
  type PortLinkEvent,
  type PortLinkGroupConfig,
  type RememberedPort,
  type UplinkView,
} from './machine/types.ts';
export {
  type Asked,
  MOST_HOPS,
  NextHopDriver,
  type NextHopDriverOptions,
  type OpenUplink,
  type SeenHop,
} from './nexthop/index.ts';
export { type LoadedState, StateFile, type StateStore, type StoredPort, type StoredState } from './state-file.ts';
