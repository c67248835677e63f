import type { OverlayChange, OverlayState } from '../../model/overlay.ts';

/** As if it had all just come. */
export function everything({ networks, instances, remotes, services }: OverlayState): OverlayChange[] {
  return [
    ...[...networks.values()].map((item) => ({ kind: 'network', op: 'added', item }) as const),
    ...[...instances.values()].map((item) => ({ kind: 'instance', op: 'added', item }) as const),
    ...[...remotes.values()].map((item) => ({ kind: 'remote', op: 'added', item }) as const),
    ...[...services.values()].map((item) => ({ kind: 'service', op: 'added', item }) as const),
    { kind: 'policy' },
    { kind: 'snat' },
  ];
}
