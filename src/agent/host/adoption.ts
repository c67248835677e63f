import type { Log } from '../../model/log.ts';
import type { OverlayInstance, OverlayNetwork, OverlayRemote, OverlayState } from '../../model/overlay.ts';
import { type OverlayKind, overlayKey } from '../../model/overlay-items.ts';
import type { Edited, OverlayEdit, OverlayTable } from '../../vswitch-bridge/overlay/index.ts';

/** What another has laid out in this kernel; all of origin `kernel`. */
export interface FoundOverlay {
  readonly networks: readonly OverlayNetwork[];
  readonly instances: readonly OverlayInstance[];
  readonly remotes: readonly OverlayRemote[];
}

export interface FoundOverlays {
  readonly overlay: FoundOverlay;
  close(): void;
}

export type FindOverlays = (onChange: (overlay: FoundOverlay) => void) => Promise<FoundOverlays>;

/** Brings the table in line with what was found: at once, or, where something has no place, without that. */
export function adopt(table: OverlayTable, found: FoundOverlay, log: Log): (Edited & { readonly ok: true })[] {
  const edits = differences(table.state, found);
  if (edits.length === 0) return [];
  const all = table.edit(edits);
  if (all.ok) return [all];
  return edits.flatMap((edit) => {
    const one = table.edit([edit]);
    if (one.ok) return [one];
    log.warn({ edit, faults: one.faults }, 'what another has laid out in this kernel has no place here');
    return [];
  });
}

function differences(state: OverlayState, found: FoundOverlay): OverlayEdit[] {
  const edits: OverlayEdit[] = [];
  const lists = [
    ['remote', state.remotes, found.remotes],
    ['instance', state.instances, found.instances],
    ['network', state.networks, found.networks],
  ] as const;
  for (const [kind, there, wanted] of lists) {
    const keys = new Set(wanted.map((item) => overlayKey(kind, item)));
    for (const [key, { origin }] of there)
      if (origin === 'kernel' && !keys.has(key)) edits.push({ op: 'remove', kind, key });
  }
  for (const [kind, there, wanted] of lists.toReversed()) {
    for (const item of wanted) {
      const is = there.get(overlayKey<OverlayKind>(kind, item));
      // What the file or the plugin has said of it counts.
      if (is && is.origin !== 'kernel') continue;
      if (JSON.stringify(is) !== JSON.stringify(item)) edits.push({ op: 'set', kind, item } as OverlayEdit);
    }
  }
  return edits;
}
