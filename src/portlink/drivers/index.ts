/**
 * Drivers of ports for boxes where the kernel's admin state is not the right handle. Their clients are loaded when such a
 * box is found: an agent on plain Linux starts without them.
 */
import type { Examination } from './sonic/examine.ts';
import type { SonicPorts, SonicPortsOptions } from './sonic/ports.ts';

export { type DetectOptions, isSonic } from './sonic/detect.ts';
export type { Examination } from './sonic/examine.ts';
export type { BlindListener, SonicPorts, SonicPortsOptions } from './sonic/ports.ts';
export { DEFAULT_SOCKET } from './sonic/schema.ts';

/** See SonicPorts.open. */
export async function openSonicPorts(options: SonicPortsOptions): Promise<SonicPorts> {
  const ports = await import('./sonic/ports.ts');
  return ports.SonicPorts.open(options);
}

/** See sonic/examine.ts. */
export async function examineSonic(redis: string): Promise<Examination> {
  const examine = await import('./sonic/examine.ts');
  return examine.examineSonic(redis);
}
