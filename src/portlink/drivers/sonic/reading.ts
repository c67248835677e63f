/** Reads a SONiC switch's ports out of its databases. Nothing is written. */
import type { LagRow, Picture, PortRow } from './picture.ts';
import { CONFIG, DEMAND, isUpText, lagRow, METADATA, PORT_INIT_DONE, portRow, type Value } from './schema.ts';

/** What is used of a Redis client here. */
export interface Reader {
  exists(key: string): Promise<number>;
  keys(pattern: string): Promise<string[]>;
  hGet(key: string, field: string): Promise<Value>;
  hmGet(key: string, fields: string[]): Promise<Value[]>;
}

export interface BoxRead {
  /** CONFIG_DB holds a switch's configuration. */
  readonly configured: boolean;
  /** orchagent has made the ports. */
  readonly made: boolean;
  readonly picture: Picture;
}

export async function readBox(appl: Reader, config: Reader): Promise<BoxRead> {
  const [metadata, portKeys, lagKeys, memberKeys] = await Promise.all([
    config.exists(METADATA),
    // CONFIG_DB has some thousand keys at most; APPL_DB, with all routes, is never searched.
    config.keys(`${CONFIG.PORT}|*`),
    config.keys(`${CONFIG.LAG}|*`),
    config.keys(`${CONFIG.LAG_MEMBER}|*`),
  ]);
  const names = portKeys.map(afterSeparator);
  const lagNames = lagKeys.map(afterSeparator);
  const [made, ports, lags] = await Promise.all([
    appl.exists(portRow(PORT_INIT_DONE)),
    Promise.all(names.map((name) => readPort(appl, config, name))),
    Promise.all(lagNames.map((name) => readLag(appl, config, name, memberKeys))),
  ]);
  return {
    configured: metadata > 0,
    made: made > 0,
    picture: {
      ports: new Map(names.map((name, index) => [name, ports[index]!])),
      lags: new Map(lagNames.map((name, index) => [name, lags[index]!])),
    },
  };
}

export async function readRunning(appl: Reader, name: string): Promise<Pick<PortRow, 'admin' | 'demanded' | 'oper'>> {
  const [[admin, oper], demanded] = await Promise.all([
    appl.hmGet(portRow(name), ['admin_status', 'oper_status']),
    appl.hGet(DEMAND.row(name), 'admin_status'),
  ]);
  return {
    admin: admin === null || admin === undefined ? undefined : isUpText(admin),
    demanded: demanded === null || demanded === undefined ? undefined : isUpText(demanded),
    oper: isUpText(oper),
  };
}

export async function readLagOper(appl: Reader, name: string): Promise<boolean | undefined> {
  const oper = await appl.hGet(lagRow(name), 'oper_status');
  return oper === null || oper === undefined ? undefined : isUpText(oper);
}

async function readPort(appl: Reader, config: Reader, name: string): Promise<PortRow> {
  const [[admin, alias], running] = await Promise.all([
    config.hmGet(`${CONFIG.PORT}|${name}`, ['admin_status', 'alias']),
    readRunning(appl, name),
  ]);
  return { configUp: isUpText(admin), alias: alias ?? undefined, ...running };
}

async function readLag(appl: Reader, config: Reader, name: string, memberKeys: readonly string[]): Promise<LagRow> {
  const [admin, oper] = await Promise.all([
    config.hGet(`${CONFIG.LAG}|${name}`, 'admin_status'),
    readLagOper(appl, name),
  ]);
  const prefix = `${CONFIG.LAG_MEMBER}|${name}|`;
  const members = memberKeys.filter((key) => key.startsWith(prefix)).map((key) => key.slice(prefix.length));
  // teammgrd's default, other than portmgrd's, is up.
  return { configUp: isUpText(admin, true), members: members.sort(), oper };
}

const afterSeparator = (key: string): string => key.slice(key.indexOf('|') + 1);
