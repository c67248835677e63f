/** Tunnels that stand in routes (`encap ip ... dst REMOTE dev` a device in `external` mode) instead of in a device. */
import { Malformed, type Route, readIpTunnel, type Subscription } from 'rtnetlink-ts';
import { type Address, parseAddress } from '../../../model/address.ts';

/** As long as the subscription lives; what is there already is told before this returns. `remote` undefined: it went. */
export function followEncapsulations(
  subscription: Subscription,
  onTunnel: (tunnel: string, remote: Address | undefined) => void,
): void {
  const devices = new Map<string, number>();
  const add = (route: Route | undefined) => {
    for (const [tunnel, { remote, ifindex }] of tunnelsOf(route)) {
      devices.set(tunnel, ifindex);
      onTunnel(tunnel, remote);
    }
  };
  const remove = (tunnel: string) => {
    if (devices.delete(tunnel)) onTunnel(tunnel, undefined);
  };
  for (const route of subscription.table('route').values()) add(route);
  subscription.onChange((change) => {
    if (change.kind === 'route') {
      const after = tunnelsOf(change.after);
      for (const tunnel of tunnelsOf(change.before).keys()) if (!after.has(tunnel)) remove(tunnel);
      add(change.after);
    } else if (change.kind === 'link' && change.before && !change.after?.up) {
      // The kernel takes the routes of a device that goes or is set down away without a word.
      for (const [tunnel, ifindex] of [...devices]) if (ifindex === change.before.ifindex) remove(tunnel);
    }
  });
}

function tunnelsOf(route: Route | undefined): ReadonlyMap<string, { remote: Address; ifindex: number }> {
  const result = new Map<string, { remote: Address; ifindex: number }>();
  for (const { encapsulation, ifindex } of route?.nextHops ?? []) {
    const tunnel = encapsulation && readIpTunnel(encapsulation);
    if (!tunnel || tunnel instanceof Malformed) continue;
    const remote = parseAddress(tunnel.destination);
    if (remote && ifindex) result.set(`route ${route!.table} ${route!.destination} ${remote}`, { remote, ifindex });
  }
  return result;
}
