/** Our own agent as G, in mode `router`: the same offer to the ToRs as FRR and BIRD make. */
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { type Place, runIn, startIn } from '../place.ts';
import { isRunning, type ProcessRecord, waitUntil } from '../processes.ts';
import { GATEWAY, type Protocol, TOR_NAMES, TORS } from '../topology/plan.ts';
import { agentCommand, agentStatus, lastWords, socketOf } from '../tor/peerless.ts';
import type { GatewayOptions } from './frr.ts';

/** The agent's configuration file as a value. What is equal is used side by side in any case. */
export function gatewayPeerless(protocol: Protocol, directory: string, options: GatewayOptions = {}): object {
  const { families = [4], bfd = false } = options;
  const ospf = {
    interfaces: TOR_NAMES.map((tor) => ({
      ...{ name: TORS[tor].gatewayPort, area: '0.0.0.0', network: 'point-to-point', hello: '1s', dead: '4s' },
      bfd,
    })),
  };
  const neighbors = families.flatMap((family) =>
    TOR_NAMES.map((tor) => ({
      address: family === 4 ? TORS[tor].address : TORS[tor].address6,
      remoteAs: TORS[tor].asn,
      timers: { keepalive: '1s', hold: '3s' },
      bfd,
    })),
  );
  return {
    role: 'gateway',
    routerId: GATEWAY.routerId,
    mode: 'router',
    ...(protocol === 'bgp' ? {} : { ospf }),
    ...(protocol === 'ospf' ? {} : { bgp: { asn: GATEWAY.asn, neighbors } }),
    bfd: { interval: '100ms', multiplier: 3 },
    map: { file: join(directory, 'map.json') },
    control: { socket: socketOf(directory), metrics: null },
    stateDirectory: join(directory, 'state'),
  };
}

export async function startPeerlessGateway(
  place: Place,
  directory: string,
  configuration: object,
): Promise<ProcessRecord[]> {
  const file = join(directory, 'peerless.yaml');
  writeFileSync(file, stringify(configuration, { aliasDuplicateObjects: false }));
  rmSync(socketOf(directory), { force: true });
  // FRR's, when it was G before; root without its capabilities may not write there.
  await runIn(place, ['chown', 'root:root', directory]);
  const record = await startIn(place, 'G agent', [...agentCommand(), '--config', file], join(directory, 'agent.log'));
  const ready = await waitUntil(async () => !isRunning(record) || (await agentStatus(directory)) !== undefined, 20_000);
  if (!ready || !isRunning(record)) throw new Error(`the agent of G did not start:\n${lastWords(directory)}`);
  return [record];
}
