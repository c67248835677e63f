/** What an order would do, for a dry run. */
import { familyOf } from '../../../model/address.ts';
import { isOpen } from '../../../model/ports.ts';
import { DRAIN } from '../../../portlink/index.ts';
import type { DrainPlan, UndrainPlan } from '../../api.ts';
import type { DrainOptions } from './drain.ts';
import type { DrainOrder } from './types.ts';

type Seen<Parts extends keyof DrainOptions> = Pick<DrainOptions, Parts>;

export function planDrain(
  { ports, whole }: DrainOrder,
  { hosts, fabric, room }: Seen<'hosts' | 'fabric' | 'room'>,
  warnings: readonly string[],
): DrainPlan {
  const all = hosts.hosts();
  const ready = fabric.readiness();
  const untold = all.filter(({ address, port }) => ports.includes(port) && !fabric.tells(familyOf(address)));
  return {
    preference: whole ? 'lowered' : 'unchanged',
    ports: ports.map((port) => ({
      port,
      hosts: all
        .filter((host) => host.port === port)
        .map((host) => ({ address: host.address, otherPath: host.rivals.map((rival) => rival.from) })),
    })),
    warnings: [
      ...warnings,
      ...(ready.ready ? [] : [`the fabric is not ready (${ready.reason}): what moves would not be seen`]),
      ...(untold.length === 0
        ? []
        : [`no session carries IPv6: ${untold.length} hosts are not waited for, nobody is told of them now either`]),
      ...(room?.waitingFor
        ? []
        : ['there is no waiting room (hostRoutes.returning.mode): each move costs the convergence of the gateway']),
    ],
  };
}

/** `ports`: what the drain has shut. */
export function planUndrain(
  ports: readonly string[],
  parts: Seen<'groups' | 'links' | 'fabric'> & {
    readonly active: boolean;
    readonly lowered: boolean;
    readonly underWay: string | undefined;
  },
): UndrainPlan {
  const { fabric, active, lowered, underWay } = parts;
  const { ready, reason } = fabric.readiness();
  return {
    preference: lowered ? 'normal' : 'unchanged',
    ports: ports.map((port) => {
      const obstacle = port === underWay ? undefined : obstacleOf(port, parts);
      return { port, opened: obstacle === undefined, reason: obstacle ?? '' };
    }),
    warnings: [
      ...(ready || !active ? [] : [`the fabric is not ready (${reason}): refused without --force`]),
      ...(underWay === undefined ? [] : [`${underWay} is being drained, and that is carried through first`]),
    ],
  };
}

/** Why it would not be opened. */
function obstacleOf(port: string, { groups, links }: Seen<'groups' | 'links'>): string | undefined {
  const known = links.port(port);
  if (!known) return 'there is no such port';
  const keeper = groups.keeperOf(port);
  if (keeper === undefined) return isOpen(known) ? 'it is open' : 'it was shut by somebody else';
  const heir = keeper === DRAIN ? groups.heirOf(port) : keeper;
  return heir === undefined ? undefined : `group ${heir} keeps it shut`;
}
