import { type Address, type Prefix, prefixContains } from '../../model/address.ts';
import type { MapEvent, PortView } from './types.ts';

/** A port of the gateway itself. */
export interface GatewayPort {
  readonly port: string;
  readonly up: boolean;
  /** ms since 1970. */
  readonly since: number;
  readonly why: string;
  readonly prefixes: readonly Prefix[];
}

export const gatewayPortView = ({ port, up, since, why }: GatewayPort): PortView => ({
  port,
  state: up ? 'up' : 'down',
  since,
  why,
});

/** The near end of the switches' uplinks. */
export class GatewayPorts {
  readonly #ports = new Map<string, GatewayPort>();
  /** Another one whenever anything has changed. */
  version = 0;

  get(port: string): GatewayPort | undefined {
    return this.#ports.get(port);
  }

  all(): Iterable<GatewayPort> {
    return this.#ports.values();
  }

  /** True: it came or went. */
  take({ port, up, why, prefixes }: MapEvent & { readonly type: 'port' }, wall: number): boolean {
    this.version++;
    const before = this.#ports.get(port);
    const same = before?.up === up;
    this.#ports.set(port, {
      port,
      up,
      since: same ? before.since : wall,
      why: same && before.why !== '' ? before.why : why,
      prefixes,
    });
    return before !== undefined && !same;
  }

  restore(port: GatewayPort): void {
    this.version++;
    this.#ports.set(port.port, port);
  }

  /** The port in whose subnets one of the addresses is; a link-local one is in none. */
  towards(addresses: readonly Address[]): GatewayPort | undefined {
    for (const address of addresses) {
      for (const port of this.#ports.values()) {
        if (port.prefixes.some((prefix) => prefixContains(prefix, address))) return port;
      }
    }
    return undefined;
  }
}
