/** The services' weights, from who lives and who has how many connections. */
import type { OverlayBackend, OverlayService, OverlayState } from '../../../../model/overlay.ts';
import { TCP, type TrackedConnection } from '../conntrack/index.ts';
import { type BackendWeight, type ServiceWeights, serviceKey, zonesOf } from '../ruleset/index.ts';
import { fillingWeights, sameShares } from './index.ts';

const PROTOCOL = { tcp: 6, udp: 17 } as const;

/** Connections by backend, for one pass over the kernel's table. */
export class ServiceLoads {
  /** By the service's place, then by the backend's. */
  readonly #places = new Map<string, Map<string, { count: number }>>();
  readonly #byBackend = new Map<string, { count: number }>();
  readonly #zoneOfVni = new Map<number, number>();

  constructor(state: OverlayState) {
    const zones = zonesOf(state);
    for (const { name, vni } of state.networks.values()) this.#zoneOfVni.set(vni, zones.get(name)!);
    for (const service of state.services.values()) {
      const backends = new Map<string, { count: number }>();
      this.#places.set(
        `${zones.get(service.network)} ${service.address} ${service.port} ${service.protocol}`,
        backends,
      );
      for (const backend of service.backends) {
        const load = { count: 0 };
        backends.set(`${backend.address} ${backend.port}`, load);
        this.#byBackend.set(backendOf(service, backend), load);
      }
    }
  }

  add({ original, reply, zone, mark, tcpState }: TrackedConnection): void {
    if (tcpState !== undefined && (tcpState < TCP.SYN_SENT || tcpState > TCP.ESTABLISHED)) return;
    const protocol = original.protocol === PROTOCOL.tcp ? 'tcp' : 'udp';
    const where = zone ?? this.#zoneOfVni.get(mark & 0xff_ffff);
    const backends = this.#places.get(`${where} ${original.destination} ${original.destinationPort} ${protocol}`);
    const load = backends?.get(`${reply.source} ${reply.sourcePort}`);
    if (load) load.count++;
  }

  of(service: OverlayService, backend: OverlayBackend): number {
    return this.#byBackend.get(backendOf(service, backend))?.count ?? 0;
  }
}

const backendOf = (service: OverlayService, { address, port }: OverlayBackend): string =>
  `${serviceKey(service)} ${address} ${port}`;

export interface WeightInputs {
  readonly alive: (service: OverlayService, backend: OverlayBackend) => boolean;
  readonly loads: ServiceLoads | undefined;
  /** Until the next count, by `serviceKey`. */
  readonly expected: ReadonlyMap<string, number>;
}

/** `before` is kept where it says nearly the same. */
export function weigh(state: OverlayState, inputs: WeightInputs, before: ServiceWeights): ServiceWeights {
  const weights = new Map<string, readonly BackendWeight[]>();
  for (const service of state.services.values()) {
    const key = serviceKey(service);
    const living = service.backends.filter((backend) => inputs.alive(service, backend));
    const loads = inputs.loads;
    const shares =
      service.balance === 'least-loaded' && loads
        ? fillingWeights(
            living.map((backend) => loads.of(service, backend)),
            inputs.expected.get(key) ?? 0,
          )
        : living.map(() => 1);
    const now = service.backends.map((backend) => {
      const at = living.indexOf(backend);
      return { backend, weight: shares[at] ?? 0, alive: at >= 0 };
    });
    const was = before.get(key);
    const same =
      was?.length === now.length &&
      was.every(({ backend, alive }, index) => {
        const other = now[index]!;
        return (
          alive === other.alive && backend.address === other.backend.address && backend.port === other.backend.port
        );
      }) &&
      sameShares(
        was.map(({ weight }) => weight),
        now.map(({ weight }) => weight),
      );
    weights.set(key, same ? was : now);
  }
  return weights;
}
