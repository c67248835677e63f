/**
 * The gateway's side: who is behind which port of which switch (machine/map.ts), and how a switch says so in band (codec).
 */
export * from './codec/index.ts';
export { GatewayMap, type PortMapOptions } from './driver.ts';
export type { MapNews } from './machine/map.ts';
export type {
  HistoryEntry,
  MapEvent,
  MapRow,
  PlaceState,
  PlaceView,
  PortView,
  Refusal,
  RouteHop,
  Source,
  SwitchView,
} from './machine/types.ts';
export { type MapStore, mapFile } from './store.ts';
