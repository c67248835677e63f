export type { State } from './machine/state.ts';
export type {
  BgpNeighborOptions,
  BgpOptions,
  RouteView,
  SessionChange,
  SessionView,
  Speaker,
} from './types.ts';
