/** G's forwarding table as a case sees it: which ToRs a host's address leads to. Pure. */
import { type Family, homeOf, SERVERS, type ServerName, type TorName } from '../topology/plan.ts';
import type { CasePhase, LabCase, LabHost } from './case.ts';

/** Address -> the ToRs that G's FIB names for it. */
export type Fib = Readonly<Record<string, readonly TorName[]>>;

export const addressesOf = (host: Pick<LabHost, 'address' | 'address6'>, families: readonly Family[]): string[] =>
  families.flatMap((family) => (family === 4 ? host.address : host.address6) ?? []);

const SERVER_HOSTS: readonly LabHost[] = SERVERS.map((server) => ({
  ...server,
  home: [homeOf(server)],
  node: server.name,
  device: 'bond0',
  probed: true,
}));

type Hosts = Pick<LabCase, 'hosts' | 'home'>;

/** The four servers, and those that the case brings. */
export const hostsOf = (labCase?: Hosts): readonly LabHost[] => [
  ...SERVER_HOSTS.map((server) => ({ ...server, home: labCase?.home?.[server.name as ServerName] ?? server.home })),
  ...(labCase?.hosts ?? []),
];

/** Where everything leads while nothing is broken. */
export const homeFib = (families: readonly Family[], labCase?: Hosts): Fib =>
  fibOf(hostsOf(labCase), families, (host) => host.home);

export const HOME_FIB: Fib = homeFib([4]);

/** Hosts that the phase doesn't name lead home. */
export const expectedFib = (labCase: Hosts, phase: Pick<CasePhase, 'leads'>, families: readonly Family[] = [4]): Fib =>
  fibOf(hostsOf(labCase), families, (host) => phase.leads?.[host.name] ?? host.home);

function fibOf(
  hosts: readonly LabHost[],
  families: readonly Family[],
  leads: (host: LabHost) => readonly TorName[] | 'any',
): Fib {
  const fib: Record<string, readonly TorName[]> = {};
  for (const host of hosts) {
    const tors = leads(host);
    if (tors !== 'any') for (const address of addressesOf(host, families)) fib[address] = tors;
  }
  return fib;
}

export const sameFib = (left: Fib, right: Fib): boolean => fibDifferences(left, right).length === 0;

/** Addresses that lead elsewhere in `right` than in `left`. */
export function fibDifferences(left: Fib, right: Fib): string[] {
  const addresses = new Set([...Object.keys(left), ...Object.keys(right)]);
  return [...addresses]
    .filter((address) => (left[address] ?? []).toSorted().join() !== (right[address] ?? []).toSorted().join())
    .toSorted();
}

/** Without the addresses that may lead anywhere in this phase. */
export function withoutFree(fib: Fib, labCase: Hosts, phase: Pick<CasePhase, 'leads'>): Fib {
  const free = new Set(
    hostsOf(labCase)
      .filter(({ name, home }) => (phase.leads?.[name] ?? home) === 'any')
      .flatMap((host) => addressesOf(host, [4, 6])),
  );
  return Object.fromEntries(Object.entries(fib).filter(([address]) => !free.has(address)));
}
