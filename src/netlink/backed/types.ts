import type { GuardMemory } from '../frames/index.ts';
import type { LearnedRouteOptions } from '../learned-routes.ts';

export interface BackedRouteOptions extends LearnedRouteOptions {
  /** False: replacing an object takes long, see backed/quiet-objects.ts. */
  readonly quiet?: boolean;
  /** Of the setting that makes it quick, for the next life. */
  readonly memory?: GuardMemory;
  /** Groups that routes use lead elsewhere, are gone, or were read. */
  readonly changed?: () => void;
  /** All of ours is out of the kernel. */
  readonly left?: () => void;
}

export interface SwitchOver {
  readonly messages: number;
  readonly refused: number;
  /** Routes in the kernel that another next hop serves now. */
  readonly routes: number;
}
