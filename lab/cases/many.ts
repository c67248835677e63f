/** A server with two hundred addresses (of each IP version) beside its own: one link carries them all, and one loss moves them all. */
import { batch } from '../topology/build.ts';
import { type Family, namespaceOf, SERVERS } from '../topology/plan.ts';
import type { LabCase, LabHost } from './case.ts';
import { addressesOf } from './fib.ts';

const COUNT = 200;
const C4 = SERVERS.find(({ name }) => name === 'C4')!;

const HOSTS = Array.from({ length: COUNT }, (_, index): LabHost => {
  const number = index + 1;
  return {
    name: `M${number}`,
    address: `10.10.10.${20 + number}`,
    address6: `2001:db8:10::${(0x1000 + number).toString(16)}`,
    mac: C4.mac,
    home: ['A'],
    node: 'C4',
    device: 'bond0',
    // The probe has no breath for all of them.
    probed: number === 1 || number === COUNT / 2 || number === COUNT,
  };
});

const NAMES = HOSTS.map(({ name }) => name);

const change = (verb: 'add' | 'del', families: readonly Family[]): string[] =>
  HOSTS.flatMap((host) =>
    addressesOf(host, families).map((address) =>
      address.includes(':')
        ? `address ${verb} ${address}/64 dev bond0${verb === 'add' ? ' nodad noprefixroute' : ''}`
        : `address ${verb} ${address}/24 dev bond0`,
    ),
  );

export const many: LabCase = {
  name: 'many',
  title: `server with ${COUNT} addresses, link down (A2)`,
  concerned: ['C4', ...NAMES],
  hosts: HOSTS,
  settings: (configuration) => ({
    ...configuration,
    hostRoutes: { ...configuration.hostRoutes, limits: { perPort: 4 * COUNT } },
  }),
  prepare: async ({ state }) => {
    await batch(namespaceOf(state.name, 'C4'), change('add', state.families));
  },
  restore: async ({ state }) => {
    await batch(namespaceOf(state.name, 'C4'), change('del', state.families));
  },
  phases: [
    {
      name: 'fault',
      act: ({ faults }) => faults.cables(['A2'], false),
      leads: Object.fromEntries(['C4', ...NAMES].map((name) => [name, ['B']])),
    },
    { name: 'back', act: ({ faults }) => faults.cables(['A2'], true), trail: 3000 },
  ],
};
