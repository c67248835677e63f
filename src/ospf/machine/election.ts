/** The election of the Designated Router and its Backup, RFC 2328 §9.4, as a function of who is there. */
import type { U32 } from 'node-ospf-lsa';
import type { InterfaceState } from '../face.ts';

/** A router on the network with bidirectional communication to us, or ourselves. Addresses are those on the network. */
export interface Candidate {
  readonly routerId: U32;
  readonly address: U32;
  readonly priority: number;
  /** What it declares in its hellos. */
  readonly designatedRouter: U32;
  readonly backupDesignatedRouter: U32;
}

export interface Elected {
  readonly designatedRouter: U32;
  readonly backupDesignatedRouter: U32;
  readonly state: Extract<InterfaceState, 'DR' | 'Backup' | 'DR Other'>;
}

/** `self` is among `candidates` only by being passed here; its declarations are the interface's current DR and BDR. */
export function elect(self: Candidate, others: readonly Candidate[]): Elected {
  let result = round(self, others);
  const role = (elected: { dr: U32; bdr: U32 }) =>
    elected.dr === self.address ? 'DR' : elected.bdr === self.address ? 'Backup' : 'DR Other';
  const before =
    self.designatedRouter === self.address
      ? 'DR'
      : self.backupDesignatedRouter === self.address
        ? 'Backup'
        : 'DR Other';
  // §9.4 (4): who gains or loses a role counts once more with it, so that nobody is both DR and Backup.
  if (role(result) !== before) {
    result = round({ ...self, designatedRouter: result.dr, backupDesignatedRouter: result.bdr }, others);
  }
  return { designatedRouter: result.dr, backupDesignatedRouter: result.bdr, state: role(result) };
}

function round(self: Candidate, others: readonly Candidate[]): { dr: U32; bdr: U32 } {
  const eligible = [self, ...others].filter((candidate) => candidate.priority > 0);
  const notDr = eligible.filter((candidate) => candidate.designatedRouter !== candidate.address);
  const backups = notDr.filter((candidate) => candidate.backupDesignatedRouter === candidate.address);
  const backup = best(backups) ?? best(notDr);
  const declared = best(eligible.filter((candidate) => candidate.designatedRouter === candidate.address));
  const designated = declared ?? backup;
  return { dr: designated?.address ?? 0, bdr: backup?.address ?? 0 };
}

function best(candidates: readonly Candidate[]): Candidate | undefined {
  let winner: Candidate | undefined;
  for (const candidate of candidates) {
    if (
      !winner ||
      candidate.priority > winner.priority ||
      (candidate.priority === winner.priority && candidate.routerId > winner.routerId)
    ) {
      winner = candidate;
    }
  }
  return winner;
}
