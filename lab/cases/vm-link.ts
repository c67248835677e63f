/**
 * R4.5's third: one VM behind a port whose carrier stays up. V1 and V2 are VMs on C4, behind A2. V1 alone goes silent
 * there and appears behind B3 (its hypervisor there is C1) with a gratuitous ARP, and comes back; then it goes silent and
 * appears nowhere: A has to find out by asking.
 */
import { guest, makeGuest, moveGuest, placeGuest, removeGuest } from '../guests.ts';
import type { LabCase } from './case.ts';

const V1 = guest('V1', '11', { address: '10.10.10.11', address6: '2001:db8:10::11' }, ['A'], ['C4', 'C1']);
const V2 = guest('V2', '12', { address: '10.10.10.12', address6: '2001:db8:10::12' }, ['A'], ['C4']);

/** `probe.interval`, three times `probe.timeout`, and a second for a busy machine. */
const PROBE_BOUND = 5000 + 3 * 200 + 1000;
/** `shadow.hold`: so long the other switch still stands by for it. */
const SHADOW_HOLD = 3000;

export const vmLink: LabCase = {
  name: 'vm-link',
  title: 'one VM of many leaves A2 for B3, carrier stays',
  concerned: ['V1'],
  hosts: [V1, V2],
  prepare: async ({ state }) => {
    for (const each of [V1, V2]) {
      await makeGuest(state, each);
      moveGuest(state, each, 'C4');
    }
  },
  restore: async ({ state }) => {
    for (const each of [V1, V2]) await removeGuest(state, each.node);
  },
  phases: [
    { name: 'fault', act: ({ state }) => moveGuest(state, V1, 'C1'), leads: { V1: ['B'] } },
    { name: 'back', act: ({ state }) => moveGuest(state, V1, 'C4') },
    {
      name: 'silent',
      title: 'one VM of many falls silent, carrier stays',
      act: ({ state }) => placeGuest(state, V1, undefined),
      leads: { V1: [] },
      verify: ({ kind }, { converged }) => {
        const bound = PROBE_BOUND + (kind === 'peerless' ? 0 : SHADOW_HOLD);
        return converged === undefined || converged > bound
          ? [`a silent VM is withdrawn after ${converged ?? 'never'} ms, not within ${bound}`]
          : [];
      },
    },
    { name: 'speaks', title: 'vm-link: the VM speaks again', act: ({ state }) => moveGuest(state, V1, 'C4') },
  ],
};
