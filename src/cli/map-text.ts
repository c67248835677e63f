import type { MapHistoryView, MapPlaceView, MapPortView, MapRowView, MapSwitchView } from '../agent/map-api.ts';
import { clockTime, since } from './format.ts';
import type { Column } from './table.ts';

/** One line: an address at one of its places. */
export interface MapLine {
  /** Empty below the first. */
  readonly address: string;
  readonly place: MapPlaceView;
}

export function mapLines(rows: readonly MapRowView[]): MapLine[] {
  return rows.flatMap(({ address, places }) =>
    places.map((place, index) => ({ address: index === 0 ? address : '', place })),
  );
}

/** Names that two switches have are told apart by their router ids. */
export function mapColumns(rows: readonly MapRowView[]): Column<MapLine>[] {
  const ids = new Map<string, Set<string>>();
  for (const { routerId, switchName } of rows.flatMap(({ places }) => places)) {
    ids.set(switchName, (ids.get(switchName) ?? new Set()).add(routerId));
  }
  const name = ({ switchName, routerId }: MapPlaceView): string =>
    ids.get(switchName)!.size > 1 ? `${switchName} (${routerId})` : switchName;
  return [
    { header: 'ADDRESS', value: ({ address }) => (address === '' ? ' ' : address) },
    { header: 'STATE', value: ({ place }) => (place.old ? `${place.state} (old)` : place.state) },
    { header: 'SINCE', value: ({ place }) => since(place.since), align: 'right' },
    { header: 'HERE', value: ({ place }) => portText(place.gatewayPort) },
    { header: 'SWITCH', value: ({ place }) => name(place) },
    { header: 'UPLINK', value: ({ place }) => portText(place.uplink) },
    { header: 'PORT', value: ({ place }) => portText(place.downlink) },
    { header: 'SERVER', value: ({ place }) => serverText(place) },
    { header: 'WHY', value: ({ place }) => place.why },
  ];
}

/** What is up needs no word. */
const portText = (port: MapPortView | undefined): string | undefined =>
  port && (port.state === 'up' ? port.port : `${port.port} ${port.state}`);

/** The server's end of the port: what LLDP says, else whose MACs were heard there. */
function serverText({ lldp, macs }: MapPlaceView): string | undefined {
  if (lldp) return `${lldp.systemName} ${lldp.portId}`.trim();
  const [first] = macs;
  return macs.length > 1 ? `${first} and ${macs.length - 1} more` : first;
}

export const HISTORY_COLUMNS: Column<MapHistoryView>[] = [
  { header: 'TIME', value: ({ time }) => clockTime(time) },
  { header: 'WHAT', value: (entry) => (entry.kind === 'host' ? entry.address : entry.kind) },
  { header: 'WHERE', value: whereText },
  { header: 'STATE', value: (entry) => ('from' in entry && entry.from ? `${entry.from} -> ` : '') + entry.to },
  { header: 'WHY', value: ({ why }) => why },
];

function whereText(entry: MapHistoryView): string {
  switch (entry.kind) {
    case 'gateway':
      return entry.port;
    case 'switch':
      return entry.switchName;
    case 'port':
      return `${entry.switchName} ${entry.port}`;
    case 'host':
      return [entry.gatewayPort, entry.uplink, entry.switchName, entry.port]
        .filter((part) => part !== undefined)
        .join(' ');
  }
}

export const SWITCH_COLUMNS: Column<MapSwitchView>[] = [
  { header: 'SWITCH', value: ({ name }) => name },
  { header: 'ROUTER ID', value: ({ routerId }) => routerId },
  { header: 'STATE', value: ({ state }) => state },
  { header: 'SINCE', value: (view) => since(view.since), align: 'right' },
  { header: 'PORTS', value: ({ ports }) => ports, align: 'right' },
  { header: 'ADDRESSES', value: ({ addresses }) => addresses, align: 'right' },
  { header: 'WHY', value: ({ why }) => why },
];
