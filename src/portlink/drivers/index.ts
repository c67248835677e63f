/** Drivers of ports for boxes where the kernel's admin state is not the right handle. */
export { type DetectOptions, isSonic } from './sonic/detect.ts';
export { type BlindListener, SonicPorts, type SonicPortsOptions } from './sonic/ports.ts';
export { DEFAULT_SOCKET } from './sonic/schema.ts';
