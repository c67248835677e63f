import type { Link, Rtnetlink } from 'rtnetlink-ts';
import type { Address, Mac } from '../../../model/address.ts';
import type { Clock } from '../../../model/clock.ts';
import type { Log } from '../../../model/log.ts';
import type { NeighbourSink } from '../driver/sink.ts';
import type { HoldOptions } from '../hold/buffer.ts';
import type { NeighbourChange } from '../machine/types.ts';

export interface OvsOptions {
  readonly socket: string;
  readonly netns: string | undefined;
  readonly clock: Clock;
  readonly log: Log;
  readonly rtnetlink: Rtnetlink;
  readonly hold: HoldOptions | undefined;
  onTunnel(tunnel: string, remote: Address | undefined): void;
  onDemand(address: Address): void;
  linkOf(name: string): Link | undefined;
  hopOf(
    remote: Address,
  ): { readonly address: Address; readonly ifindex: number; readonly mac: Mac | undefined } | undefined;
}

export class OvsNeighbours implements NeighbourSink {
  readonly name = 'ovs';
  constructor(_options: OvsOptions) {}
  async start(): Promise<void> {}
  apply(_change: NeighbourChange): void {}
  waiting(): ReadonlyMap<Address, number> {
    return new Map();
  }
  counters(): Readonly<Record<string, Readonly<Record<string, number>>>> {
    return {};
  }
  async close(): Promise<void> {}
}
