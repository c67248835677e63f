import { type Address, familyOf } from '../model/address.ts';
import type { Instant, Timer } from '../model/clock.ts';
import { diagnosticText } from './codec/packet.ts';
import type { BfdPeer, SessionView } from './face.ts';
import type { BfdSession } from './machine/session.ts';
import type { Mouth } from './socket.ts';

/** A session and what the driver keeps beside it. */
export interface Entry {
  readonly peer: BfdPeer;
  readonly session: BfdSession;
  sourcePort: number;
  mouth: Mouth | undefined;
  retry: Timer | undefined;
  since: Instant;
  reason: string;
  /** It was Up once, and not switched off by its peer since. */
  seenUp: boolean;
  /** What `seenUp` was before the session came Up last. */
  seenBefore: boolean;
  failures: number;
  received: number;
  sent: number;
}

export const idOf = ({
  address,
  interface: name,
}: {
  readonly address: Address;
  readonly interface: string | undefined;
}) => `${address}%${name ?? ''}`;

/** An interface's name has no slash. */
export const earKey = ({ address, interface: name }: BfdPeer): string => `${name ?? ''}/${familyOf(address)}`;

export function viewOf(entry: Entry, multiplier: number): SessionView {
  const { peer, session, since, reason, seenUp, failures, received, sent } = entry;
  const { remote, intervals } = session;
  return {
    peer: peer.address,
    interface: peer.interface,
    localAddress: peer.localAddress,
    state: session.state,
    remoteState: remote.state,
    switchedOff: session.switchedOff,
    since,
    reason,
    seenUp,
    diagnostic: diagnosticText(session.diagnostic),
    remoteDiagnostic: diagnosticText(remote.diagnostic),
    localDiscriminator: session.discriminator,
    remoteDiscriminator: remote.discriminator,
    transmitInterval: intervals.transmit,
    detectionTime: intervals.detection,
    multiplier,
    remoteMultiplier: remote.multiplier,
    controlPlaneIndependent: remote.independent,
    failures,
    received,
    sent,
  };
}
