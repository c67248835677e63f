export type { CommunitySet } from './codec/communities.ts';
export { formatCommunities, GRACEFUL_SHUTDOWN, parseCommunities } from './codec/communities.ts';
export type { State } from './machine/state.ts';
export type { RestartOptions } from './restart.ts';
export { BgpSpeaker } from './speaker.ts';
export type { Accept, Connection, ConnectionHandlers, Listener, Transport } from './transport.ts';
export type {
  BgpNeighborOptions,
  BgpOptions,
  BgpSettings,
  NeighborLoss,
  RouteView,
  ServerRoute,
  ServerSettings,
  ServerView,
  SessionChange,
  SessionView,
  Speaker,
} from './types.ts';
