import { IFF, type Link } from 'rtnetlink-ts';

const IFF_NOARP = 0x80;

/** A tunnel or a line: the kernel needs no MAC there. */
export const hasNoNeighbours = (link: Link | undefined): boolean =>
  link !== undefined && (link.flags & (IFF_NOARP | IFF.LOOPBACK)) !== 0;

export const usable = (link: Link): boolean => link.up && link.carrier !== false;

/**
 * Which ways out of the machine a change of a link concerns: itself, and what it is a member of (a team, a bridge of the
 * kernel's or of Open vSwitch). What was known behind these is worth nothing now.
 */
export function movedBy(
  before: Link | undefined,
  after: Link,
  ways: ReadonlySet<number>,
  switched: number | undefined,
): readonly number[] {
  const moved = new Set<number>();
  const differs = before !== undefined && differ(before, after);
  if (differs && ways.has(after.ifindex)) moved.add(after.ifindex);
  if (before && !differs && before.master === after.master) return [...moved];
  for (const master of [before?.master, after.master, switched]) if (master && ways.has(master)) moved.add(master);
  return [...moved];
}

/** Carrier, state or MAC; of a bond, who of its members is active. */
function differ(before: Link, after: Link): boolean {
  if (before.up !== after.up || before.carrier !== after.carrier || before.address !== after.address) return true;
  if (after.kind !== 'bond' || !before.kindData || !after.kindData) return false;
  return Buffer.compare(before.kindData, after.kindData) !== 0;
}
