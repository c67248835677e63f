/** Whose connections must not go on: of instances and backends that are gone. */
import type { OverlayState } from '../../../model/overlay.ts';
import type { TrackedConnection } from './conntrack/index.ts';
import { type ServiceWeights, serviceKey, zonesOf } from './ruleset/index.ts';

const PROTOCOL = { tcp: 6, udp: 17 } as const;

/** What connections can be told apart by. */
export interface Presence {
  readonly instances: ReadonlySet<string>;
  readonly backends: ReadonlySet<string>;
  readonly zoneOfVni: ReadonlyMap<number, number>;
}

export const NOBODY: Presence = { instances: new Set(), backends: new Set(), zoneOfVni: new Map() };

export function presenceOf(state: OverlayState, weights: ServiceWeights): Presence {
  const zones = zonesOf(state);
  const zoneOfVni = new Map<number, number>();
  for (const { name, vni } of state.networks.values()) zoneOfVni.set(vni, zones.get(name)!);
  const instances = new Set<string>();
  for (const { network, address } of state.instances.values()) instances.add(`${zones.get(network)} ${address}`);
  const backends = new Set<string>();
  for (const service of state.services.values()) {
    const place = `${zones.get(service.network)} ${PROTOCOL[service.protocol]} ${service.address} ${service.port}`;
    for (const { backend, alive } of weights.get(serviceKey(service)) ?? []) {
      // One that lives and has enough to do keeps what it has.
      if (alive) backends.add(`${place} ${backend.address} ${backend.port}`);
    }
  }
  return { instances, backends, zoneOfVni };
}

/** undefined: nobody went. */
export function departed(before: Presence, now: Presence): ((connection: TrackedConnection) => boolean) | undefined {
  const instances = new Set([...before.instances].filter((each) => !now.instances.has(each)));
  const backends = new Set([...before.backends].filter((each) => !now.backends.has(each)));
  if (instances.size === 0 && backends.size === 0) return undefined;
  return ({ original, reply, zone: both, mark }) => {
    const zone = both ?? before.zoneOfVni.get(mark & 0xff_ffff) ?? now.zoneOfVni.get(mark & 0xff_ffff);
    const { protocol, source, destination, destinationPort } = original;
    return (
      instances.has(`${zone} ${source}`) ||
      instances.has(`${zone} ${destination}`) ||
      instances.has(`${zone} ${reply.source}`) ||
      backends.has(`${zone} ${protocol} ${destination} ${destinationPort} ${reply.source} ${reply.sourcePort}`)
    );
  };
}
