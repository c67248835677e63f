import { lacksFamily, type NextHop, type Rtnetlink } from 'rtnetlink-ts';

/** Everybody's next-hop objects. A kernel that can't have any (before Linux 5.3) has none. Rejects when they can't be read. */
export async function nextHopsOf(rtnetlink: Pick<Rtnetlink, 'dumpNextHops'>): Promise<readonly NextHop[]> {
  try {
    return await rtnetlink.dumpNextHops();
  } catch (error) {
    if (lacksFamily(error)) return [];
    throw error;
  }
}
