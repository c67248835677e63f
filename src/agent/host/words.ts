import type { OverlayChange } from '../../model/overlay.ts';
import { overlayKey } from '../../model/overlay-items.ts';
import type { OverlayEdit } from '../../vswitch-bridge/overlay/index.ts';

/** What came of an operator's edits; nothing where the table was that way already. */
export function outcomeTexts(edits: readonly OverlayEdit[], changes: readonly OverlayChange[]): string[] {
  const policy = changes.some(({ kind }) => kind === 'policy');
  const snat = changes.some(({ kind }) => kind === 'snat');
  return [
    ...changeTexts(changes.filter((change) => 'op' in change)),
    ...edits.flatMap((edit) => {
      if (edit.op === 'policy') {
        const said = [
          ...(edit.default === undefined ? [] : [`${edit.default} by default`]),
          ...(edit.initiate === undefined
            ? []
            : [`connections from ${edit.initiate === 'both' ? 'both sides' : 'inside'}`]),
        ];
        return policy ? [`policy: ${said.join(', ')}`] : [];
      }
      if (edit.kind !== 'rule' && edit.kind !== 'snat') return [];
      const name = edit.op === 'remove' ? edit.key : overlayKey(edit.kind, edit.item);
      const thing = edit.kind === 'rule' ? `rule ${name}` : `source for ${name.replace('/', ' towards ')}`;
      return (edit.kind === 'rule' ? policy : snat) ? [`${thing} ${DONE[edit.op]}`] : [];
    }),
  ];
}

const DONE = { add: 'added', set: 'set', remove: 'removed' } as const;

/** A change in a sentence, for events and dry runs. */
export function changeText(change: OverlayChange): string {
  if (change.kind === 'policy') return 'policy changed';
  if (change.kind === 'snat') return 'sources for the public world changed';
  return `${changedThing(change)} ${change.op}`;
}

export type ItemChange = Extract<OverlayChange, { readonly op: string }>;

function changedThing(change: ItemChange): string {
  switch (change.kind) {
    case 'network':
      return `network ${change.item.name} (${change.item.encapsulation} ${change.item.vni}, ${change.item.subnet})`;
    case 'instance':
      return `instance ${change.item.name} (${change.item.address} in ${change.item.network}, ${change.item.interface})`;
    case 'remote': {
      const { host, network, addresses } = change.item;
      const some =
        addresses.length > 3
          ? `${addresses.slice(0, 3).join(', ')} and ${addresses.length - 3} more`
          : addresses.join(', ');
      return `remote ${host} of ${network} (${some})`;
    }
    default: {
      const { name, address, port, protocol } = change.item;
      return `service ${name} (${address} ${protocol} ${port})`;
    }
  }
}

/** Removal and addition of one thing are told as its change. */
export function changeTexts(changes: readonly OverlayChange[]): string[] {
  const again = new Set<string>();
  const keys = new Set(changes.filter((change) => 'op' in change && change.op === 'removed').map(keyOf));
  for (const change of changes)
    if ('op' in change && change.op === 'added' && keys.has(keyOf(change))) again.add(keyOf(change));
  return changes.flatMap((change) => {
    if (!('op' in change) || !again.has(keyOf(change))) return [changeText(change)];
    return change.op === 'removed' ? [] : [`${changedThing(change)} changed`];
  });
}

function keyOf(change: OverlayChange): string {
  if (!('op' in change)) return change.kind;
  const { item } = change;
  return `${change.kind} ${'host' in item ? `${item.network}/${item.host}` : item.name}`;
}
