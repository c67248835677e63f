/** What SONiC's databases say of its ports, put together with what the kernel says of the same ones. Pure. */
import type { Port } from '../../../model/ports.ts';

/** A front panel port. */
export interface PortRow {
  readonly alias: string | undefined;
  /** CONFIG_DB admin_status: the operator's wish. */
  readonly configUp: boolean;
  /** APPL_DB admin_status; undefined while SONiC has not made the port. */
  readonly admin: boolean | undefined;
  /** An admin_status that orchagent has not taken over yet, ours or portmgrd's. */
  readonly demanded: boolean | undefined;
  readonly oper: boolean;
}

/** A port channel. */
export interface LagRow {
  readonly configUp: boolean;
  readonly members: readonly string[];
  /** LAG_TABLE oper_status; undefined while there is no such row. */
  readonly oper: boolean | undefined;
}

export interface Picture {
  readonly ports: ReadonlyMap<string, PortRow>;
  readonly lags: ReadonlyMap<string, LagRow>;
}

export const EMPTY: Picture = { ports: new Map(), lags: new Map() };

export const isKnown = ({ ports, lags }: Picture, name: string): boolean => ports.has(name) || lags.has(name);

export const namesOf = ({ ports, lags }: Picture): string[] => [...ports.keys(), ...lags.keys()];

/** The ports whose admin state must change for `name` to be shut or opened: itself, or the members of a port channel. */
export function targetsOf(picture: Picture, name: string): readonly string[] {
  return picture.ports.has(name) ? [name] : (picture.lags.get(name)?.members ?? []);
}

/**
 * Its laser is off, or will be, though CONFIG_DB has it up. The kernel's interface doesn't say so: it follows CONFIG_DB.
 *
 * @returns undefined when SONiC knows no such port
 */
export function isShut(picture: Picture, name: string): boolean | undefined {
  if (!isKnown(picture, name)) return undefined;
  const rows = targetsOf(picture, name).flatMap((target) => picture.ports.get(target) ?? []);
  const wanted = (picture.lags.get(name)?.configUp ?? true) && rows.some(({ configUp }) => configUp);
  return wanted && rows.every(({ admin, demanded }) => (demanded ?? admin) === false);
}

const NO_NETDEV: Omit<Port, 'name'> = {
  ifindex: 0,
  mac: undefined,
  mtu: 0,
  adminUp: true,
  carrier: true,
  master: 0,
  kind: undefined,
  addresses: [],
};

/**
 * The port as both see it. A loss counts as soon as one of them tells of it, a return when both do: the kernel's
 * interface and APPL_DB are told by the same daemons, one shortly before the other.
 *
 * @returns undefined when SONiC has configured it but not made it; the kernel's own for what SONiC does not know
 */
export function portOf(picture: Picture, name: string, kernel: Port | undefined): Port | undefined {
  const port = picture.ports.get(name);
  const lag = picture.lags.get(name);
  if (!port && !lag) return kernel;
  const state = port ? stateOfPort(port) : stateOfLag(picture, lag!);
  if (!state) return undefined;
  const base = kernel ?? { ...NO_NETDEV, name };
  return {
    ...base,
    adminUp: state.admin && base.adminUp,
    carrier: state.oper && base.carrier,
    ...(port?.alias === undefined ? {} : { alias: port.alias }),
  };
}

interface State {
  readonly admin: boolean;
  readonly oper: boolean;
}

function stateOfPort({ admin, demanded, oper }: PortRow): State | undefined {
  return admin === undefined ? undefined : { admin: demanded ?? admin, oper };
}

/** A port channel is shut by shutting all its members: LAG_TABLE has no admin state that orchagent would act upon. */
function stateOfLag({ ports }: Picture, { configUp, members, oper }: LagRow): State | undefined {
  if (oper === undefined) return undefined;
  const states = members.flatMap((member) => {
    const row = ports.get(member);
    return row ? (stateOfPort(row) ?? []) : [];
  });
  return { admin: configUp && (members.length === 0 || states.some(({ admin }) => admin)), oper };
}

export function samePort(one: Port | undefined, other: Port | undefined): boolean {
  if (!one || !other) return one === other;
  return (Object.keys({ ...one, ...other }) as (keyof Port)[]).every((key) => one[key] === other[key]);
}
