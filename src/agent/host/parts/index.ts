import type { HostParts } from '../part.ts';

/** The parts of this build, each in a file that fits a folder of vswitch-bridge to the host. */
export const HOST_PARTS: HostParts = {};
