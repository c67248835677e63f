/**
 * What Open vSwitch's database says of bridges, ports and tunnels (RFC 7047: `monitor`, `transact`; columns of
 * ovs-vswitchd.conf.db(5)).
 */
import { type Address, parseAddress } from '../../../model/address.ts';
import { JsonRpc } from './json-rpc.ts';

export interface OvsInterface {
  readonly name: string;
  readonly type: string;
  readonly remote: Address | undefined;
  /** OpenFlow port number; undefined until the switch has it, and for ports that it could not open. */
  readonly port: number | undefined;
}

export interface OvsBridge {
  readonly name: string;
  /** `netdev`: in user space (DPDK too); otherwise the kernel's. */
  readonly userspace: boolean;
  readonly interfaces: readonly OvsInterface[];
}

const TUNNELS = new Set(['vxlan', 'gre', 'geneve', 'ip6gre', 'gtpu', 'stt', 'lisp', 'erspan', 'ip6erspan', 'bareudp']);
const DATABASE = 'Open_vSwitch';

type Row = Readonly<Record<string, unknown>>;
type Tables = Record<'Bridge' | 'Port' | 'Interface', Map<string, Row>>;

const COLUMNS = {
  Bridge: ['name', 'datapath_type', 'ports'],
  Port: ['name', 'interfaces'],
  Interface: ['name', 'type', 'options', 'ofport'],
} as const;

export class OvsDatabase {
  readonly #rpc: JsonRpc;
  readonly #tables: Tables;

  /** `onChange`: also once before this resolves. Rejects when there is no database. */
  static async open(
    socket: string,
    events: { onChange(bridges: readonly OvsBridge[]): void; onClose(error: Error | undefined): void },
  ): Promise<OvsDatabase> {
    const tables: Tables = { Bridge: new Map(), Port: new Map(), Interface: new Map() };
    const rpc = await JsonRpc.connect(socket, {
      onNotification: (method, params) => {
        if (method !== 'update') return;
        merge(tables, params[1]);
        events.onChange(bridgesOf(tables));
      },
      onClose: (error) => events.onClose(error),
    });
    const request = Object.fromEntries(Object.entries(COLUMNS).map(([table, columns]) => [table, { columns }]));
    merge(tables, await rpc.request('monitor', [DATABASE, null, request]));
    events.onChange(bridgesOf(tables));
    return new OvsDatabase(rpc, tables);
  }

  private constructor(rpc: JsonRpc, tables: Tables) {
    this.#rpc = rpc;
    this.#tables = tables;
  }

  get bridges(): readonly OvsBridge[] {
    return bridgesOf(this.#tables);
  }

  /** A port of the bridge that is an interface of this machine. Nothing is done when it is there. */
  async addInternalPort(bridge: string, name: string): Promise<void> {
    if (this.bridges.some((each) => each.interfaces.some((known) => known.name === name))) return;
    await this.#transact([
      { op: 'insert', table: 'Interface', row: { name, type: 'internal' }, 'uuid-name': 'iface' },
      {
        op: 'insert',
        table: 'Port',
        row: { name, interfaces: ['named-uuid', 'iface'], external_ids: ['map', [['peerless', 'hold']]] },
        'uuid-name': 'port',
      },
      {
        op: 'mutate',
        table: 'Bridge',
        where: [['name', '==', bridge]],
        mutations: [['ports', 'insert', ['named-uuid', 'port']]],
      },
    ]);
  }

  async removePort(bridge: string, name: string): Promise<void> {
    const port = [...this.#tables.Port].find(([, row]) => row.name === name)?.[0];
    if (port === undefined) return;
    // A port that no bridge has is collected as garbage.
    await this.#transact([
      {
        op: 'mutate',
        table: 'Bridge',
        where: [['name', '==', bridge]],
        mutations: [['ports', 'delete', ['uuid', port]]],
      },
    ]);
  }

  close(): void {
    this.#rpc.close();
  }

  async #transact(operations: readonly object[]): Promise<void> {
    const results = (await this.#rpc.request('transact', [DATABASE, ...operations])) as unknown[];
    for (const result of results) {
      const { error, details } = (result ?? {}) as { error?: string; details?: string };
      if (error) throw new Error(`Open vSwitch's database: ${error}${details ? `: ${details}` : ''}`);
    }
  }
}

/** `<table-updates>` of RFC 7047 §4.1.6. */
function merge(tables: Tables, updates: unknown): void {
  for (const [name, table] of Object.entries(tables)) {
    const rows = ((updates ?? {}) as Record<string, Record<string, { new?: Row }>>)[name] ?? {};
    for (const [uuid, { new: row }] of Object.entries(rows)) {
      if (row) table.set(uuid, { ...table.get(uuid), ...row });
      else table.delete(uuid);
    }
  }
}

function bridgesOf(tables: Tables): OvsBridge[] {
  return [...tables.Bridge.values()].map((bridge) => ({
    name: String(bridge.name),
    userspace: bridge.datapath_type === 'netdev',
    interfaces: uuids(bridge.ports).flatMap((port) =>
      uuids(tables.Port.get(port)?.interfaces).flatMap((uuid) => {
        const row = tables.Interface.get(uuid);
        return row ? [interfaceOf(row)] : [];
      }),
    ),
  }));
}

function interfaceOf(row: Row): OvsInterface {
  const type = String(row.type);
  // `flow`: the remote comes with each packet.
  const remote = TUNNELS.has(type) ? parseAddress(optionsOf(row.options).get('remote_ip') ?? '') : undefined;
  const port = typeof row.ofport === 'number' && row.ofport > 0 ? row.ofport : undefined;
  return { name: String(row.name), type, remote, port };
}

/** One is `["uuid", x]`, none or several `["set", [...]]`. */
function uuids(value: unknown): string[] {
  if (!Array.isArray(value)) return [];
  if (value[0] === 'uuid') return [String(value[1])];
  return value[0] === 'set' && Array.isArray(value[1]) ? value[1].flatMap(uuids) : [];
}

function optionsOf(value: unknown): ReadonlyMap<string, string> {
  const pairs = Array.isArray(value) && value[0] === 'map' && Array.isArray(value[1]) ? value[1] : [];
  return new Map(pairs.filter(Array.isArray).map(([key, text]) => [String(key), String(text)]));
}
