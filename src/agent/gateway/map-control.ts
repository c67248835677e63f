import type { GatewayMap, HistoryEntry, MapRow, PortView } from '../../gateway/index.ts';
import { type Address, addressBytes, parseAddress } from '../../model/address.ts';
import { InPortions, REST } from '../control/list-answer.ts';
import { ControlError, type ControlRequest, type ControlServer } from '../control/server.ts';
import type { MapHistoryView, MapPortView, MapRowView, MapSwitchView } from '../map-api.ts';
import { RUN, sorted } from './sorted.ts';

type Asked = Pick<GatewayMap, 'judged' | 'addresses' | 'row' | 'switches' | 'history'>;

/** What `peerless map` asks. */
export function serveMap(server: ControlServer, { map }: { readonly map: Asked }): void {
  server.on('GET', '/v1/map', async (request) => {
    const address = addressOf(request);
    await map.judged();
    if (address === undefined) return new InPortions(rowViews(map));
    const row = map.row(address);
    return row ? [rowView(row)] : [];
  });
  server.on('GET', '/v1/map/switches', async (): Promise<MapSwitchView[]> => {
    await map.judged();
    return map.switches().map(dated);
  });
  server.on('GET', '/v1/map/history', async (request) => {
    const address = addressOf(request);
    await map.judged();
    const row = address === undefined ? undefined : map.row(address);
    const about = (entry: HistoryEntry) => address === undefined || concerns(entry, address, row);
    return new InPortions(historyViews(map, about));
  });
}

/** By address. */
function* rowViews(map: Asked): Generator<MapRowView | typeof REST | undefined> {
  const keyed: { readonly address: Address; readonly key: Uint8Array }[] = [];
  for (const address of map.addresses()) {
    keyed.push({ address, key: addressBytes(address) });
    if (keyed.length % RUN === 0) yield REST;
  }
  const inOrder = yield* sorted(
    keyed,
    ({ key: one }, { key: other }) => one.length - other.length || Buffer.compare(one, other),
  );
  for (const { address } of inOrder) {
    const row = map.row(address);
    yield row && rowView(row);
  }
}

/** The oldest first. */
function* historyViews(map: Asked, about: (entry: HistoryEntry) => boolean): Generator<MapHistoryView | typeof REST> {
  const found: HistoryEntry[] = [];
  for (const [index, entry] of map.history().entries()) {
    if (about(entry)) found.push(entry);
    if (index % RUN === RUN - 1) yield REST;
  }
  for (const entry of yield* sorted(found, (one, other) => one.at - other.at)) yield entryView(entry);
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
