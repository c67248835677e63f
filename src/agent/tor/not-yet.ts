import type { TorConfig } from '../../config/index.ts';

/** Keys of the firm configuration that this version accepts and does not act on yet. */
export function unsupported(config: TorConfig): string[] {
  const named: [boolean, string][] = [[config.shadow.enabled && config.shadow.repair, 'shadow.repair']];
  return named.filter(([used]) => used).map(([, key]) => `${key} is accepted but this version does not act on it yet`);
}
