import { rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type {
  BgpNeighborView,
  BgpRouteView,
  BgpSummaryView,
  ChangeResult,
  CountersView,
  EventView,
  FailoverView,
  GroupView,
  HostView,
  OspfInterfaceView,
  OspfLsaView,
  OspfNeighborView,
  ReloadResult,
  RunningConfigView,
  StatusView,
} from '../../src/agent/api.ts';
import type { Address, Mac, Prefix } from '../../src/model/address.ts';

/** Recorded answers of an agent, for what the commands make of them; the agent itself has its own tests. */

const a = (text: string) => text as Address;
const since = '2026-01-01T10:00:00.000Z';

export const failover: FailoverView = {
  id: 7,
  time: '2026-01-01T10:00:00.123Z',
  cause: 'A2 lost carrier',
  port: 'A2',
  hosts: 1,
  steps: [
    { name: 'link event', us: 0 },
    { name: 'host table', us: 41.6 },
    { name: 'ospf first byte', us: 210 },
    { name: 'kernel routes', us: 1250 },
  ],
};

export const group: GroupView = {
  name: 'fabric',
  description: 'to the spine',
  state: 'shut',
  since,
  reason: '0 of 1 uplinks up, 1 needed',
  dryRun: false,
  uplinks: [{ port: 'A0', up: false, verdicts: [{ condition: 'carrier', ok: false, reason: 'no carrier' }] }],
  downlinks: [
    {
      port: 'A1',
      adminUp: false,
      carrier: false,
      shutByUs: true,
      since,
      lldp: [{ systemName: 'hv1', portId: '02:00:00:00:00:01', portDescription: 'eth0' }],
    },
    { port: 'A2', adminUp: true, carrier: true, shutByUs: false },
  ],
  config: {
    description: 'to the spine',
    enabled: true,
    uplinks: ['A0'],
    downlinks: ['A[1-2]'],
    direction: 'uplink',
    minUplinks: 1,
    upWhen: ['carrier'],
    shut: 'all',
    priority: [],
    deferDelay: '0s',
    recoveryDelay: '5s',
    autoRecover: true,
    startupDelay: '10s',
    dryRun: false,
    onStop: 'leave',
    shutUplinks: false,
    nexthops: [],
    allowManagementPort: false,
  },
};

const status: StatusView = {
  role: 'tor',
  version: '0.1.0',
  pid: 4711,
  uptimeMs: 125_000,
  routerId: '10.255.0.1',
  configFile: '/etc/peerless/peerless.yaml',
  uplinks: [{ port: 'A0', up: false, reason: 'no carrier', lldp: [{ systemName: 'spine-1', portId: 'Ethernet1' }] }],
  groups: [group],
  sessions: [{ protocol: 'ospf', peer: '10.255.0.254', interface: 'A0', state: 'Full', up: true, since }],
  hosts: { total: 2, byState: { reachable: 1, probing: 1 } },
  lastFailover: failover,
  warnings: ['A9 was shut by an earlier run and is not in any group'],
};

const hosts: HostView[] = [
  {
    address: a('10.10.10.1'),
    port: 'A1',
    interface: 'br0',
    mac: '02:00:00:00:00:01' as Mac,
    sources: [{ source: 'arp', rank: 4, ageMs: 1200, evidence: 'its ARP reply on A1' }],
    why: 'heard by ARP',
    state: 'reachable',
    ageMs: 3_600_000,
    heardMs: 1200,
    level: 0,
    rivals: [{ from: '10.255.0.2', level: 1 }],
    announcedBy: ['ospf', 'kernel'],
  },
  {
    address: a('10.10.10.2'),
    port: 'A2',
    interface: 'A2',
    mac: null,
    sources: [{ source: 'static', rank: 1, ageMs: 500, evidence: 'the configuration says so' }],
    why: 'evil\u001b[31m name',
    state: 'probing',
    ageMs: 900,
    heardMs: 500,
    level: 2,
    rivals: [],
    announcedBy: [],
  },
];

const ospfNeighbors: OspfNeighborView[] = [
  {
    interface: 'A0',
    area: a('0.0.0.0'),
    routerId: a('10.255.0.254'),
    address: a('192.0.2.1'),
    state: 'Full',
    since,
    priority: 1,
    designatedRouter: a('0.0.0.0'),
    backupDesignatedRouter: a('0.0.0.0'),
    deadIn: 3400,
    retransmissions: 0,
    requests: 0,
  },
];

const ospfInterfaces: OspfInterfaceView[] = [
  {
    name: 'A0',
    area: a('0.0.0.0'),
    network: 'point-to-point',
    state: 'Point-to-point',
    address: a('192.0.2.2'),
    prefixLength: 30,
    mtu: 1500,
    cost: 10,
    hello: 1000,
    dead: 4000,
    designatedRouter: a('0.0.0.0'),
    backupDesignatedRouter: a('0.0.0.0'),
    neighbors: 1,
    full: 1,
  },
];

const lsa = { age: 12, checksum: 0xabc, length: 36, options: 2, sequence: -0x7fffffff };
const lsdb: OspfLsaView[] = [
  { ...lsa, type: 5, linkStateId: a('10.10.10.1'), advertisingRouter: a('10.255.0.1'), selfOriginated: true },
  {
    ...lsa,
    area: a('0.0.0.0'),
    type: 1,
    linkStateId: a('10.255.0.254'),
    advertisingRouter: a('10.255.0.254'),
    selfOriginated: false,
  },
];

const bgpNeighbors: BgpNeighborView[] = [
  {
    neighbor: a('192.0.2.1'),
    remoteAs: 65000,
    state: 'Established' as BgpNeighborView['state'],
    since,
    reason: 'KEEPALIVE received',
    interface: 'A0',
    localAddress: a('192.0.2.2'),
    remoteId: a('10.255.0.254'),
    hold: 3000,
    keepalive: 1000,
    families: ['ipv4'],
    fourOctetAs: true,
    routeRefresh: true,
    prefixesReceived: 3,
    prefixesSent: 2,
    initialRoutesReceived: true,
    gracefulRestart: { restartTime: 120_000, families: ['ipv4'] },
    restarting: false,
    prefixesStale: 0,
    established: 1,
    messagesReceived: 10,
    messagesSent: 11,
    queued: 0,
    observer: false,
    portFacts: false,
    factsReceived: 0,
    factsSent: 0,
  },
];

const bgpSummary: BgpSummaryView = { asn: 65001, routerId: '10.255.0.1', neighbors: bgpNeighbors };

const bgpRoutes: BgpRouteView[] = (['in', 'out'] as const).map((table) => ({
  table,
  prefix: '10.10.10.1/32' as Prefix,
  neighbor: a('192.0.2.1'),
  nextHop: a('192.0.2.2'),
  asPath: '65001',
  origin: 'IGP',
  med: undefined,
  localPreference: undefined,
  communities: ['65001:100'],
  best: true,
  rejected: undefined,
}));

const events: EventView[] = ['link.down', 'host.withdrawn', 'portlink.shut'].map((type, index) => ({
  seq: index + 1,
  time: since,
  monotonicUs: index,
  type,
  severity: 'info',
  message: `${type} happened`,
  fields: {},
}));

const counters: CountersView = { ospf: { 'rx.hello': 12, 'drop.checksum': 0 }, bgp: { received: 4 } };
const config: RunningConfigView = {
  file: '/etc/peerless/peerless.yaml',
  loadedAt: since,
  config: { role: 'tor', routerId: '10.255.0.1' },
};
const reload: ReloadResult = { changes: ['kernel.table: 254 -> 100'], needsRestart: ['kernel.table: 254 -> 100'] };

const ANSWERS: Readonly<Record<string, unknown>> = {
  'GET /v1/status': status,
  'GET /v1/map': [],
  'GET /v1/hosts': hosts,
  'GET /v1/portlink': [group],
  'GET /v1/portlink/fabric': group,
  'GET /v1/ospf/neighbors': ospfNeighbors,
  'GET /v1/ospf/interfaces': ospfInterfaces,
  'GET /v1/ospf/lsdb': lsdb,
  'GET /v1/bgp/summary': bgpSummary,
  'GET /v1/bgp/neighbors': bgpNeighbors,
  'GET /v1/bgp/routes': bgpRoutes,
  'GET /v1/events': events,
  'GET /v1/failovers': [failover],
  'GET /v1/counters': counters,
  'GET /v1/config': config,
  'POST /v1/reload': reload,
  // Another than the one whose status this agent tells: as if it had been exchanged already.
  'POST /v1/restart': { pid: 3822, uptimeMs: 5 },
  'POST /v1/hosts/clear': {
    dryRun: false,
    hosts: [{ address: '10.10.10.2', port: 'A2', held: true, hold: 4000, moves: 5, suspicion: 42_000 }],
  },
  'POST /v1/hosts/sweep': { interfaces: 4, addresses: 254, questions: 1016, seconds: 6 },
};

export interface FakeAgent {
  readonly socket: string;
  /** What was asked: `METHOD path?query body`. */
  readonly asked: string[];
  close(): Promise<void>;
}

let count = 0;

export async function fakeAgent(
  socket: string = join(tmpdir(), `peerless-fake-${process.pid}-${count++}.sock`),
): Promise<FakeAgent> {
  rmSync(socket, { force: true });
  const asked: string[] = [];
  const server = createServer((request, response) => void serve(request, response, asked));
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  return {
    socket,
    asked,
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}

async function serve(request: IncomingMessage, response: ServerResponse, asked: string[]): Promise<void> {
  let body = '';
  for await (const chunk of request.setEncoding('utf8') as AsyncIterable<string>) body += chunk;
  asked.push(`${request.method} ${request.url}${body && ` ${body}`}`);
  const url = new URL(request.url ?? '/', 'http://agent');
  const answer = (status: number, value: unknown) => {
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(JSON.stringify(value));
  };
  if (url.pathname === '/v1/events' && url.searchParams.get('follow') === '1') {
    response.writeHead(200, { 'content-type': 'application/x-ndjson' });
    // Split in the middle of a line, with an empty one that keeps the stream alive.
    const text = `${events.map((event) => `${JSON.stringify(event)}\n`).join('\n')}`;
    response.write(text.slice(0, 40));
    setTimeout(() => response.end(text.slice(40)), 20);
    return;
  }
  const known = ANSWERS[`${request.method} ${url.pathname}`];
  if (known !== undefined) return answer(200, known);
  if (!url.pathname.startsWith('/v1/portlink/')) return answer(500, { error: { message: 'out of order' } });
  const [name, action] = url.pathname.slice('/v1/portlink/'.length).split('/').map(decodeURIComponent);
  if (name === 'wrong')
    return answer(422, { error: { message: 'minUplinks: 9 is more than the group has', remedy: 'Lower it.' } });
  if (name === 'missing')
    return answer(404, { error: { message: 'there is no group missing', remedy: 'Choose one of: fabric.' } });
  const result: ChangeResult = {
    dryRun: url.searchParams.get('dryRun') === '1',
    actions: [`${request.method} ${action ?? 'group'}`],
    group: request.method === 'DELETE' ? null : group,
  };
  answer(200, result);
}
