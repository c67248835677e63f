/** The steps of a plan as what is asked of the kernel. */
import type { PeerEntry } from './entry.ts';
import type { XfrmRequest } from './kernel-face.ts';
import {
  associationId,
  associationOf,
  type Ends,
  inboundPolicy,
  outboundPolicy,
  policyIds,
  type Step,
} from './projection.ts';

export const requestsFor = (ends: Ends, entry: PeerEntry, steps: readonly Step[]): XfrmRequest[] =>
  steps.flatMap((step) => requestsOf(ends, entry, step));

/** @throws Error for an SA whose key is not at hand: a plan asks for each once */
function requestsOf(ends: Ends, entry: PeerEntry, step: Step): XfrmRequest[] {
  switch (step.op) {
    case 'add-sa': {
      const key = entry.keyOf(step.direction, step.spi);
      if (!key) throw new Error(`the key of the SA ${step.spi.toString(16)} is not at hand`);
      return [{ op: 'add-sa', sa: associationOf(ends, entry, step.direction, step.spi, key) }];
    }
    case 'delete-sa':
      return [{ op: 'delete-sa', id: associationId(ends, entry, step.direction, step.spi) }];
    case 'outbound-policy':
      return [{ op: 'set-policy', policy: outboundPolicy(ends, entry, step.spi) }];
    case 'inbound-policy':
      return [{ op: 'set-policy', policy: inboundPolicy(ends, entry) }];
    case 'delete-policies':
      return policyIds(ends, entry).map((id) => ({ op: 'delete-policy', id }));
  }
}
