import type { OverlayChange } from '../../model/overlay.ts';

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
