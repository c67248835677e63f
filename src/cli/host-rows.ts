import type { PeerView } from '../vswitch-bridge/encryption/index.ts';
import type { CacheView, FlowView, PeerEntry, WayView } from '../vswitch-bridge/fastpath/types.ts';
import type { TunnelNeighbourView } from '../vswitch-bridge/neighbours/index.ts';
import type { Column } from './table.ts';

/** The listings of the parts of the host role, as they come over the control socket: types alone, and their columns. */

export type NeighbourRow = TunnelNeighbourView;
export type CacheRows = CacheView;
export type WayRow = WayView;
export type FlowRow = FlowView;

export type PeerRow = PeerView;

const seconds = (ms: number | undefined): string | undefined => (ms === undefined ? undefined : (ms / 1000).toFixed(1));

export const NEIGHBOUR_COLUMNS: readonly Column<NeighbourRow>[] = [
  { header: 'NEIGHBOUR', value: (row) => row.address },
  { header: 'MAC', value: (row) => row.mac },
  { header: 'STATE', value: (row) => row.state },
  { header: 'INTERFACE', value: (row) => row.interface },
  { header: 'AGE', value: (row) => seconds(row.age), align: 'right' },
  { header: 'HELD', value: (row) => row.held, align: 'right' },
  { header: 'TUNNELS', value: (row) => row.tunnels.length, align: 'right' },
  { header: 'FOR', value: (row) => row.remotes.join(', ') },
];

export const PEER_COLUMNS: readonly Column<PeerEntry>[] = [
  { header: 'PEER', value: (row) => row.address },
  { header: 'FROM', value: (row) => row.local },
  { header: 'NEXT HOP', value: (row) => row.nextHop },
  { header: 'MTU', value: (row) => row.mtu, align: 'right' },
  { header: 'SENT', value: (row) => seconds(row.lastSent), align: 'right' },
  { header: 'HEARD', value: (row) => seconds(row.lastHeard), align: 'right' },
];

const PROTOCOLS: Readonly<Record<number, string>> = { 1: 'icmp', 6: 'tcp', 17: 'udp' };
const protocolText = (number: number): string => PROTOCOLS[number] ?? String(number);

const ends = (row: { source: string; sourcePort: number; destination: string; destinationPort: number }): string =>
  `${row.source}:${row.sourcePort} > ${row.destination}:${row.destinationPort}`;

export const WAY_COLUMNS: readonly Column<WayRow>[] = [
  { header: 'VNI', value: (row) => row.vni, align: 'right' },
  { header: 'PROTOCOL', value: (row) => protocolText(row.protocol) },
  { header: 'CONNECTION', value: ends },
  { header: 'WAY', value: (row) => `${row.kind} ${row.to}` },
  { header: 'AS', value: (row) => row.translated && ends(row.translated) },
  { header: 'IDLE', value: (row) => seconds(row.idle), align: 'right' },
  { header: 'AGE', value: (row) => seconds(row.age), align: 'right' },
  { header: 'PACKETS', value: (row) => row.packets, align: 'right' },
];

export const FLOW_COLUMNS: readonly Column<FlowRow>[] = [
  { header: 'VNI', value: (row) => row.vni, align: 'right' },
  { header: 'PROTOCOL', value: (row) => protocolText(row.protocol) },
  { header: 'CONNECTION', value: ends },
  { header: 'STATE', value: (row) => row.state },
  { header: 'WAYS', value: (row) => row.directions.map(({ way }) => way).join(', ') },
  { header: 'VERDICT', value: (row) => row.verdict },
  { header: 'RULE', value: (row) => [row.rule, row.rateRule].filter((name) => name !== undefined).join(', ') },
  { header: 'PACKETS', value: (row) => row.directions.reduce((sum, { packets }) => sum + packets, 0), align: 'right' },
  { header: 'AGE', value: (row) => seconds(row.age), align: 'right' },
  { header: 'EXPIRES', value: (row) => seconds(row.expiresIn), align: 'right' },
];

export const PEER_STATE_COLUMNS: readonly Column<PeerRow>[] = [
  { header: 'PEER', value: (row) => row.address },
  { header: 'STATE', value: (row) => row.state },
  { header: 'FOR', value: (row) => seconds(row.age), align: 'right' },
  { header: 'SENDING', value: (row) => row.sending },
  { header: 'KEY', value: (row) => row.version },
  { header: 'OURS', value: (row) => row.ours.join(' ') },
  { header: 'THEIRS', value: (row) => row.theirs.join(' ') },
  { header: 'ENCRYPTED', value: (row) => row.sent.encrypted + row.received.encrypted, align: 'right' },
  { header: 'PLAIN', value: (row) => row.sent.plain + row.received.plain, align: 'right' },
  { header: 'HELD', value: (row) => row.held, align: 'right' },
  { header: 'WHY', value: (row) => row.reason },
];
