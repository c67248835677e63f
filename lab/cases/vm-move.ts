/**
 * A VM moves while it runs, and no carrier changes: between two ports of A (from C4 at A2 to C3 at A1), from A to B (to
 * C1 at B3), and home. Inside one switch the fabric has nothing to learn.
 */
import { guest, makeGuest, moveGuest, removeGuest } from '../guests.ts';
import type { LabCase } from './case.ts';

const V1 = guest('V1', '11', { address: '10.10.10.11', address6: '2001:db8:10::11' }, ['A'], ['C4', 'C3', 'C1']);

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
      verify: (_, { updates }) => (updates > 0 ? [`the fabric was told ${updates} times of a move inside A`] : []),
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
