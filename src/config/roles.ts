import type { CommonConfig, Config } from './types.ts';

/** What a role has that speaks routing protocols; a host speaks none. */
export const speakerConfig = (config: Config | undefined): CommonConfig | undefined =>
  config === undefined || config.role === 'host' ? undefined : config;
