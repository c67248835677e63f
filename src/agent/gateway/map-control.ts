import type { HistoryEntry, MapRow, PortView } from '../../gateway/index.ts';
import { type Address, addressBytes, parseAddress } from '../../model/address.ts';
import { ControlError, type ControlRequest, type ControlServer } from '../control/server.ts';
import type { MapHistoryView, MapPortView, MapRowView, MapSwitchView } from '../map-api.ts';
import type { Gateway } from './gateway.ts';

/** What `peerless map` asks. */
export function serveMap(server: ControlServer, { map }: Pick<Gateway, 'map'>): void {
  server.on('GET', '/v1/map', (request): MapRowView[] => {
    const address = addressOf(request);
    if (address === undefined) return inOrder(map.rows()).map(rowView);
    const row = map.row(address);
    return row ? [rowView(row)] : [];
  });
  server.on('GET', '/v1/map/switches', (): MapSwitchView[] => map.switches().map(dated));
  server.on('GET', '/v1/map/history', (request): MapHistoryView[] => {
    const address = addressOf(request);
    const row = address === undefined ? undefined : map.row(address);
    return map.history(address === undefined ? undefined : (entry) => concerns(entry, address, row)).map(entryView);
  });
}

function addressOf({ query }: ControlRequest): Address | undefined {
  const text = query.get('address');
  if (text === null) return undefined;
  const address = parseAddress(text.replace(/\/(32|128)$/, ''));
  if (!address) throw new ControlError(400, `${text} is not an address`, 'write it as 10.10.10.2');
  return address;
}

/** The address itself, and what it hangs or hung on. */
function concerns(entry: HistoryEntry, address: Address, row: MapRow | undefined): boolean {
  if (entry.kind === 'host') return entry.address === address;
  return (row?.places ?? []).some((place) => {
    if (entry.kind === 'gateway') return entry.port === place.gatewayPort?.port;
    if (entry.routerId !== place.routerId) return false;
    return entry.kind === 'switch' || entry.role === 'uplink' || entry.port === place.downlink?.port;
  });
}

const iso = (ms: number): string => new Date(ms).toISOString();

const dated = <T extends { readonly since: number }>(view: T): Omit<T, 'since'> & { since: string } => ({
  ...view,
  since: iso(view.since),
});

function rowView({ places, ...row }: MapRow): MapRowView {
  return {
    ...dated(row),
    places: places.map(({ gatewayPort, uplink, downlink, ...place }) => ({
      ...dated(place),
      ...optional('gatewayPort', gatewayPort),
      ...optional('uplink', uplink),
      ...optional('downlink', downlink),
    })),
  };
}

function optional<K extends string>(key: K, port: PortView | undefined): { [key in K]?: MapPortView } {
  return port ? ({ [key]: dated(port) } as { [key in K]: MapPortView }) : {};
}

function entryView({ at, ...entry }: HistoryEntry): MapHistoryView {
  return { time: iso(at), ...entry };
}

/** By address. Each is read once: the speakers wait meanwhile, and there may be ten thousand. */
function inOrder(rows: readonly MapRow[]): MapRow[] {
  const keyed = rows.map((row) => ({ row, key: addressBytes(row.address) }));
  keyed.sort((one, other) => one.key.length - other.key.length || Buffer.compare(one.key, other.key));
  return keyed.map(({ row }) => row);
}
