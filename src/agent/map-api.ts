/** The gateway's map in the control API (api.ts). */
import type {
  MapRow as DomainMapRow,
  SwitchView as DomainMapSwitch,
  HistoryEntry,
  PlaceView,
  PortView,
} from '../gateway/index.ts';
import type { IsoTime } from './api.ts';

type Dated<T extends { readonly since: number }> = Omit<T, 'since'> & { readonly since: IsoTime };

/** A port of the gateway or of a switch; `since` by the clock of the box whose port it is. */
export type MapPortView = Dated<PortView>;

/** An address behind one port of one switch, now or once. */
export type MapPlaceView = Dated<Omit<PlaceView, 'gatewayPort' | 'uplink' | 'downlink'>> & {
  readonly gatewayPort?: MapPortView;
  readonly uplink?: MapPortView;
  readonly downlink?: MapPortView;
};

/** `places`: where it is first, then where it was. */
export type MapRowView = Dated<Omit<DomainMapRow, 'places'>> & { readonly places: readonly MapPlaceView[] };

export type MapSwitchView = Dated<DomainMapSwitch>;

/** Oldest first. With an address: what happened to it, and to the ports and switches that it was behind. */
export type MapHistoryView = HistoryEntry extends infer Entry
  ? Entry extends HistoryEntry
    ? Readonly<Omit<Entry, 'at'>> & { readonly time: IsoTime }
    : never
  : never;
