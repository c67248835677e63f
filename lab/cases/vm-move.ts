/**
 * A VM moves while it runs, and no carrier changes: between two ports of A (from C4 at A2 to C3 at A1), from A to B (to
 * C1 at B3), and home. Of a move inside one switch the fabric learns one thing: the port that the host names.
 */
import { guest, makeGuest, moveGuest, removeGuest } from '../guests.ts';
import type { LabState } from '../state.ts';
import type { LabCase } from './case.ts';

const V1 = guest('V1', '11', { address: '10.10.10.11', address6: '2001:db8:10::11' }, ['A'], ['C4', 'C3', 'C1']);

/** One announcement by each protocol for each address; OSPF has IPv4 alone. */
const tellings = ({ protocol, families }: LabState): number =>
  (protocol === 'ospf' ? 0 : families.length) + (protocol === 'bgp' ? 0 : 1);

export const vmMove: LabCase = {
  name: 'vm-move',
  title: 'a VM moves from A2 to A1',
  concerned: ['V1'],
  hosts: [V1],
  prepare: async ({ state }) => {
    await makeGuest(state, V1);
    moveGuest(state, V1, 'C4');
  },
  restore: ({ state }) => removeGuest(state, V1.node),
  phases: [
    {
      name: 'port',
      act: ({ state }) => moveGuest(state, V1, 'C3'),
      verify: ({ state }, { updates }) =>
        updates > tellings(state) ? [`the fabric was told ${updates} times of a move inside A`] : [],
    },
    {
      name: 'switch',
      title: 'vm-move: on from A1 to B3',
      act: ({ state }) => moveGuest(state, V1, 'C1'),
      leads: { V1: ['B'] },
    },
    { name: 'back', act: ({ state }) => moveGuest(state, V1, 'C4') },
  ],
};
