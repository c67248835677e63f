import type { HostParts } from '../part.ts';
import { openEncryption } from './encryption.ts';
import { openFastPathPart } from './fast-path.ts';
import { openNeighbours } from './neighbours.ts';
import { openNetwork } from './network.ts';
import { openPolicy } from './policy.ts';

/** The parts of this build, each in a file that fits a folder of vswitch-bridge to the host. */
export const HOST_PARTS: HostParts = {
  policy: openPolicy,
  network: openNetwork,
  encryption: openEncryption,
  neighbours: openNeighbours,
  fastPath: openFastPathPart,
};
