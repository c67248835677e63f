/** What layouts have left, known by names and protocol numbers alone: for `cleanup`, and for a leave that keeps nothing. */
import type { Rtnetlink } from 'rtnetlink-ts';
import { removeRequests } from './encode.ts';
import { byKey, difference, type LayoutObject } from './objects.ts';
import { sendPaced } from './pacing.ts';
import { readStanding } from './read.ts';

export interface LayoutLeftovers {
  readonly devices: readonly string[];
  readonly routes: number;
  readonly rules: number;
}

/** Rejects when the kernel can't be read. */
export async function findLayout(rtnetlink: Rtnetlink): Promise<LayoutLeftovers> {
  const { objects, foreign } = await readStanding(rtnetlink);
  const all = [...objects.values()];
  return {
    devices: [
      ...foreign,
      ...all.flatMap((each) => (each.kind === 'bridge' || each.kind === 'tunnel' ? [each.name] : [])),
    ],
    routes: all.filter(({ kind }) => kind === 'route').length,
    rules: all.filter(({ kind }) => kind === 'rule').length,
  };
}

/** Instances' devices stay, in no bridge. */
export async function removeLayout(rtnetlink: Rtnetlink): Promise<void> {
  const { objects, foreign } = await readStanding(rtnetlink);
  const links = await rtnetlink.dumpLinks();
  const numbers = new Map(links.map(({ name, ifindex }) => [name, ifindex]));
  // Everything else goes with its device.
  const kinds: ReadonlySet<LayoutObject['kind']> = new Set(['rule', 'route', 'tunnel', 'bridge']);
  const ours = byKey([...objects.values()].filter(({ kind }) => kinds.has(kind)));
  const { remove } = difference(ours, new Map());
  await sendPaced(
    rtnetlink,
    remove.flatMap((object) => removeRequests(object, (name) => numbers.get(name))),
  );
  for (const name of foreign) await rtnetlink.deleteLink({ name });
}
