import type { EncryptionConfig } from '../../config/index.ts';
import type { OverlayNetwork } from '../../model/overlay.ts';

/**
 * Who encrypts; undefined: nobody. `auto` is the worker: it runs on any kernel and with any policy, holds packets while keys are agreed
 * upon, and can't read what a kernel encrypts (its IVs are no sequence numbers), so that a host must not change sides by itself when it
 * gets another kernel.
 */
export function encryptsOf({
  policy,
  backend,
}: Pick<EncryptionConfig, 'policy' | 'backend'>): OverlayNetwork['encrypted'] {
  if (policy === 'off') return undefined;
  return backend === 'xfrm' ? 'kernel' : 'worker';
}
