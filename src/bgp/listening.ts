import { isDeepStrictEqual } from 'node:util';
import type { Address } from '../model/address.ts';
import { prefixAddress } from '../model/address.ts';
import type { Listener, ListenTarget, SocketSecurity } from './transport.ts';
import type { BgpNeighborOptions, BgpOptions } from './types.ts';

type Expected = Pick<BgpNeighborOptions, 'address' | 'localAddress'> & { readonly security: SocketSecurity };

const wildcard = (address: Address): Address => (address.includes(':') ? '::' : '0.0.0.0') as Address;

/** Where to listen for whom. */
export function listenTargets(
  listen: BgpOptions['listen'],
  peers: readonly Expected[],
  servers: ListenTarget['range'],
): ListenTarget[] {
  if (listen === false) return [];
  const port = listen?.port ?? 179;
  const open = servers && wildcard(prefixAddress(servers.prefix));
  const addresses = new Set(
    listen?.address
      ? [listen.address]
      : peers.map((peer) => peer.localAddress ?? wildcard(peer.address)).concat(open ?? []),
  );
  // A wildcard takes the connections of its family's single addresses too, and can't be bound beside them.
  const bound = [...addresses].filter((address) => address === wildcard(address) || !addresses.has(wildcard(address)));
  return bound.map((address) => {
    const ours = peers.filter((peer) => wildcard(peer.address) === wildcard(address));
    const range = open === wildcard(address) ? servers : undefined;
    return { address, port, peers: ours.map((peer) => ({ address: peer.address, ...peer.security })), range };
  });
}

/** The listeners that are open. One that stays as it is stays open: its neighbours notice nothing of a reload. */
export class Listening {
  #open: { readonly target: ListenTarget; readonly listener: Listener }[] = [];

  update(targets: readonly ListenTarget[], open: (target: ListenTarget) => Listener): void {
    const kept = this.#open.filter((one) => targets.some((target) => isDeepStrictEqual(target, one.target)));
    // An address can't be bound twice, so the old go first.
    for (const one of this.#open) if (!kept.includes(one)) one.listener.close();
    const come = targets.filter((target) => !kept.some((one) => isDeepStrictEqual(target, one.target)));
    this.#open = [...kept, ...come.map((target) => ({ target, listener: open(target) }))];
  }

  close(): void {
    this.update([], () => {
      throw new Error('nothing to open');
    });
  }
}
