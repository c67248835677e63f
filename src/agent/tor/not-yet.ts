import type { TorConfig } from '../../config/index.ts';

/** Keys of the firm configuration that this version accepts and does not act on yet. */
export function unsupported(config: TorConfig): string[] {
  const named: [boolean, string][] = [
    [config.shadow.enabled, 'shadow.enabled'],
    [config.ospf?.interfaces.some((entry) => entry.bfd) === true, 'ospf.interfaces[].bfd'],
    [config.bgp?.neighbors.some((entry) => entry.bfd) === true, 'bgp.neighbors[].bfd'],
  ];
  return named.filter(([used]) => used).map(([, key]) => `${key} is accepted but this version does not act on it yet`);
}
