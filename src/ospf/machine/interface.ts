/**
 * The interface state machine of RFC 2328 §9.3, as a table. `elect` means: run the election of §9.4 and take the state
 * that it gives. Loopback is left out; a loopback address is a stub network in the configuration.
 */
import type { InterfaceState, NetworkType } from '../face.ts';
import type { InterfaceEvent } from './core.ts';

export type InterfaceAction = 'none' | 'start' | 'elect' | 'reset';

export interface InterfaceRow {
  readonly action: InterfaceAction;
  /** Absent with `elect`. */
  readonly state?: InterfaceState;
}

const down: Partial<Record<InterfaceEvent, InterfaceRow>> = { InterfaceDown: { action: 'reset', state: 'Down' } };
const elected: Partial<Record<InterfaceEvent, InterfaceRow>> = { ...down, NeighborChange: { action: 'elect' } };

export const INTERFACE_TABLE: Readonly<
  Record<InterfaceState, Readonly<Partial<Record<InterfaceEvent, InterfaceRow>>>>
> = {
  Down: {},
  Waiting: { ...down, BackupSeen: { action: 'elect' }, WaitTimer: { action: 'elect' } },
  'Point-to-point': down,
  'DR Other': elected,
  Backup: elected,
  DR: elected,
};

/** Where InterfaceUp leads: it depends on the network, and on whether we may become DR at all (priority 0: no). */
function upRow(network: NetworkType, priority: number): InterfaceRow {
  if (network === 'point-to-point') return { action: 'start', state: 'Point-to-point' };
  return { action: 'start', state: priority === 0 ? 'DR Other' : 'Waiting' };
}

export function interfaceTransition(
  state: InterfaceState,
  event: InterfaceEvent,
  network: NetworkType,
  priority: number,
): InterfaceRow | undefined {
  if (event === 'InterfaceUp') return state === 'Down' ? upRow(network, priority) : undefined;
  return INTERFACE_TABLE[state][event];
}
