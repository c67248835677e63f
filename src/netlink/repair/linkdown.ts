import { BorrowedSetting } from '../borrowed-setting.ts';
import type { GuardMemory } from '../frames/index.ts';

/**
 * By default the kernel goes on using a route whose interface has lost its carrier. With this setting of the interface
 * the look-up passes over it and takes the next one of the same prefix, the backup, in the moment in which the kernel
 * itself sees the loss: nobody has to do anything then. What an interface had before is put back.
 */
export class IgnoredLinkdown extends BorrowedSetting {
  constructor(memory: GuardMemory, netns: string | undefined) {
    super('ignore_routes_with_linkdown', ['ipv4', 'ipv6'], memory, netns);
  }
}
