/** Where SONiC keeps its ports (sonic-swss-common `schema.h`), and how its rows read. Pure. */

import { heardText, type PortNeighbour } from '../../../model/ports.ts';

export const DATABASE = { APPL: 0, CONFIG: 4 } as const;
export const DEFAULT_SOCKET = '/var/run/redis/redis.sock';

/** CONFIG_DB: what the operator wants and `config save` writes to the disk. Separator `|`. */
export const CONFIG = { PORT: 'PORT', LAG: 'PORTCHANNEL', LAG_MEMBER: 'PORTCHANNEL_MEMBER' } as const;
export const METADATA = 'DEVICE_METADATA|localhost';

/** APPL_DB: what runs. Separator `:`. */
export const APPL = { PORT: 'PORT_TABLE', LAG: 'LAG_TABLE' } as const;
const LLDP = 'LLDP_ENTRY_TABLE';
/** Rows of PORT_TABLE that are signs of progress: the ports have been configured, and made. */
const PORT_CONFIG_DONE = 'PortConfigDone';
export const PORT_INIT_DONE = 'PortInitDone';

/** How a writer hands rows of PORT_TABLE to orchagent (ProducerStateTable): row aside, its name in a set, a call. */
export const DEMAND = {
  names: `${APPL.PORT}_KEY_SET`,
  row: (port: string): string => `_${APPL.PORT}:${port}`,
  channel: `${APPL.PORT}_CHANNEL@${DATABASE.APPL}`,
  call: 'G',
} as const;

export const portRow = (port: string): string => `${APPL.PORT}:${port}`;
export const lagRow = (lag: string): string => `${APPL.LAG}:${lag}`;
export const lldpRow = (port: string): string => `${LLDP}:${port}`;

/** A row of LLDP_ENTRY_TABLE (sonic-dbsyncd, lldp_syncd); a port without a neighbour has none. */
export function parseLldp(row: Readonly<Record<string, Value>>): PortNeighbour | undefined {
  const text = (field: string): string | undefined => {
    const value = row[`lldp_rem_${field}`];
    return value ? heardText(value) : undefined;
  };
  const portId = text('port_id');
  const chassisId = text('chassis_id');
  const systemName = text('sys_name') ?? chassisId;
  if (portId === undefined || systemName === undefined) return undefined;
  const portDescription = text('port_desc');
  return {
    systemName,
    portId,
    ...(portDescription === undefined ? {} : { portDescription }),
    ...(chassisId === undefined ? {} : { chassisId }),
  };
}

/** Redis tells of changes on these channels once `notify-keyspace-events` has K, g and h (SONiC: AKE). */
export const WATCHED_CHANNELS: readonly string[] = [
  `__keyspace@${DATABASE.APPL}__:${APPL.PORT}:*`,
  `__keyspace@${DATABASE.APPL}__:${APPL.LAG}:*`,
  ...Object.values(CONFIG).map((table) => `__keyspace@${DATABASE.CONFIG}__:${table}|*`),
];

export type Notification =
  /** A row of PORT_TABLE or LAG_TABLE. */
  | { readonly of: 'row'; readonly port: string }
  /** SONiC has (re)made its ports. */
  | { readonly of: 'restart' }
  /** A port or a port channel in CONFIG_DB; `port` is the member's in PORTCHANNEL_MEMBER. */
  | { readonly of: 'config'; readonly port: string };

/** @returns undefined for channels that are none of ours */
export function parseNotification(channel: string): Notification | undefined {
  const match = /^__keyspace@(\d+)__:([^:|]+)[:|](.+)$/.exec(channel);
  if (!match) return undefined;
  const [, database, table, key] = match as unknown as [string, string, string, string];
  if (Number(database) === DATABASE.CONFIG) return { of: 'config', port: key.split('|').at(-1)! };
  if (table !== APPL.PORT && table !== APPL.LAG) return undefined;
  if (key === PORT_CONFIG_DONE || key === PORT_INIT_DONE) return { of: 'restart' };
  return { of: 'row', port: key };
}

/** Are K (keyspace), g (generic) and h (hashes) on? `A` stands for all classes. */
export function notifiesEnough(flags: string): boolean {
  return flags.includes('K') && (flags.includes('A') || (flags.includes('g') && flags.includes('h')));
}

export type Value = string | null | undefined;

/** `up` or `down`; what SONiC assumes when the field is missing is the caller's to say. */
export const isUpText = (value: Value, missing = false): boolean =>
  value === undefined || value === null ? missing : value.toLowerCase() === 'up';
