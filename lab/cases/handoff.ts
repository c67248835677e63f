/**
 * The agent speaks no routing protocol: FRR, or BIRD, runs beside it with the shipped example and announces what it is
 * handed in a kernel table (R4.10). The worked example's two failures must end as ever.
 */
import type { ProcessRecord } from '../processes.ts';
import type { TorName } from '../topology/plan.ts';
import { startBirdExample, startExport, startFrrExample } from '../tor/beside.ts';
import type { AgentConfiguration } from '../tor/peerless.ts';
import type { TorSettings } from '../tor/today.ts';
import type { CasePhase, LabCase } from './case.ts';
import type { CaseName } from './names.ts';

/** The way back costs what it costs the daemon: nobody but the servers that move may notice. */
const phases = (name: CaseName): readonly CasePhase[] => [
  { name: 'fault', act: ({ faults }) => faults.cables(['A2'], false), leads: { C4: ['B'] }, concerned: ['C4'] },
  { name: 'back', act: ({ faults }) => faults.cables(['A2'], true), concerned: ['C4'] },
  {
    name: 'uplink',
    title: `${name}: uplink down (fig. 10)`,
    act: ({ faults }) => faults.cables(['A0'], false),
    leads: { C3: ['B'], C4: ['B'] },
    adjacencyLost: true,
  },
  { name: 'uplink-back', title: `${name}: uplink, way back`, act: ({ faults }) => faults.cables(['A0'], true) },
];

const silent = ({ ospf: _, bgp: __, ...rest }: AgentConfiguration): AgentConfiguration => rest as AgentConfiguration;

function handoff(
  name: CaseName,
  reader: 'zebra' | 'bird',
  daemons: (settings: TorSettings) => Promise<ProcessRecord[]>,
) {
  return {
    name,
    title: `server link, ${reader === 'bird' ? 'BIRD' : 'FRR'} beside the agent`,
    concerned: ['C3', 'C4'],
    phases: phases(name),
    settings: (configuration: AgentConfiguration, _: TorName) => ({
      ...silent(configuration),
      kernel: { handoffTable: 100, handoffReader: reader },
    }),
    daemons,
    unfit: ({ families }) => (families.includes(6) ? 'the examples are of IPv4' : undefined),
  } satisfies LabCase;
}

export const handoffFrr: LabCase = handoff('handoff-frr', 'zebra', startFrrExample);
export const handoffBird: LabCase = handoff('handoff-bird', 'bird', startBirdExample);

/** No protocol between the ToRs and G: G's automation keeps the exported list of each ToR as static routes. */
export const staticRoutes: LabCase = {
  name: 'static',
  title: 'server link, static routes at G',
  concerned: ['C3', 'C4'],
  phases: phases('static'),
  // No switch hears of the other's claims here: only by asking its hosts does it learn that one has left.
  settings: (configuration) => {
    const { hostRoutes, ...rest } = silent(configuration);
    return { ...rest, hostRoutes: { ...hostRoutes, probe: { interval: '1s' } } } as AgentConfiguration;
  },
  daemons: startExport,
  unfit: ({ families, containers }) =>
    families.includes(6) ? 'IPv4 only' : containers ? 'the automation runs where the agents’ sockets are' : undefined,
};
