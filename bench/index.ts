/**
 * `./run bench [NAME ...] [--runs N] [--json]`: what the product is measured by, each beside a peer that does the same job
 * in the same run on the same machine. The figures inform; nothing passes or fails by them.
 */
import { parseArgs } from 'node:util';
import { codec } from './codec.ts';
import { failover } from './failover.ts';
import { firstPackets } from './first-packets.ts';
import { host } from './host/index.ts';
import { CONNECTIONS, connectionScaling, RULES, ruleScaling } from './host/scaling.ts';
import { learn } from './learn.ts';
import type { BenchOptions } from './options.ts';
import { type Report, ratioOf, renderReport } from './report.ts';
import { endurance } from './scale/endurance.ts';
import { uplink } from './scale/uplink.ts';
import { secondLoss } from './second-loss.ts';
import { switchOver } from './switch-over.ts';
import { wire } from './wire.ts';

const BENCHES: Readonly<Record<string, (options: BenchOptions) => Promise<Report>>> = {
  codec,
  'wire-bgp': (options) => wire('bgp', options),
  'wire-ospf': (options) => wire('ospf', options),
  'second-loss': secondLoss,
  'switch-over': switchOver,
  'learn-bgp': (options) => learn('bgp', options),
  'learn-ospf': (options) => learn('ospf', options),
  'failover-bgp': (options) => failover('bgp', options),
  'failover-ospf': (options) => failover('ospf', options),
  'uplink-bgp': (options) => uplink('bgp', options),
  'uplink-ospf': (options) => uplink('ospf', options),
  host,
  'host-rules': ruleScaling,
  'host-connections': connectionScaling,
  'first-packets': firstPackets,
  endurance,
};

/** Take minutes, so they must be asked for by name. */
const LONG = new Set(['endurance', 'host-rules', 'host-connections']);
const FLAPS = ['port', 'move', 'silent'] as const;

const USAGE = `usage: ./run bench [NAME ...] [--runs N] [--json] [--agent PATH] [--profile FOLDER] [--flap WAY]
                       [--rules SIZES] [--connections SIZES]

  NAME          ${Object.keys(BENCHES).join(', ')};
                what is no name stands for all names that begin with it; none: all but endurance, host-rules and
                host-connections
  --runs N      how often (each benchmark has its own default); minutes for endurance
  --json        the reports as JSON on standard output
  --agent PATH  measure this build's agent (a bin/peerless) instead of ours
  --profile FOLDER  endurance, uplink: leave a CPU profile of the agent there
  --flap WAY    endurance: ${FLAPS.join(', ')}; default: all in turn
  --rules SIZES     host-rules: how many rules, the smallest first; default ${RULES.join(',')}
  --connections SIZES  host-connections: how many that live, the smallest first; default ${CONNECTIONS.join(',')}
`;

const isCount = (value: number): boolean => Number.isInteger(value) && value > 0;
const sizesOf = (text: string | undefined): number[] | undefined => text?.split(',').map(Number);

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      runs: { type: 'string' },
      json: { type: 'boolean', default: false },
      agent: { type: 'string' },
      profile: { type: 'string' },
      flap: { type: 'string' },
      rules: { type: 'string' },
      connections: { type: 'string' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(USAGE);
    return 0;
  }
  const all = Object.keys(BENCHES);
  const chosen = positionals.map((wanted) =>
    all.includes(wanted) ? [wanted] : all.filter((name) => name.startsWith(`${wanted}-`)),
  );
  const names = all.filter((name) =>
    chosen.length === 0 ? !LONG.has(name) : chosen.some((each) => each.includes(name)),
  );
  const unknown = positionals.filter((_, at) => chosen[at]!.length === 0);
  const runs = values.runs === undefined ? undefined : Number(values.runs);
  const flap = FLAPS.find((each) => each === values.flap);
  const [rules, connections] = [sizesOf(values.rules), sizesOf(values.connections)];
  const fits = (sizes: number[] | undefined) => sizes === undefined || (sizes.length > 1 && sizes.every(isCount));
  if (
    values.flap !== flap ||
    unknown.length > 0 ||
    (runs !== undefined && !isCount(runs)) ||
    ![rules, connections].every(fits)
  ) {
    process.stderr.write(USAGE);
    return 2;
  }
  if (process.getuid?.() !== 0 && names.some((name) => name !== 'codec')) {
    process.stderr.write('bench: network namespaces need root\n');
    return 2;
  }
  const onProgress = (message: string): void => {
    process.stderr.write(`${message}\n`);
  };
  const agent = values.agent ?? new URL('../../bin/peerless', import.meta.url).pathname;
  const reports: Report[] = [];
  for (const name of names) {
    const report = await BENCHES[name]!({ runs, agent, profile: values.profile, flap, rules, connections, onProgress });
    reports.push(report);
    if (!values.json) process.stdout.write(`\n${renderReport(report)}`);
  }
  if (values.json) {
    const withRatios = reports.map((each) => ({
      ...each,
      rows: each.rows.map((line) => ({ ...line, ratio: ratioOf(line) })),
    }));
    process.stdout.write(`${JSON.stringify(withRatios, undefined, 2)}\n`);
  }
  return 0;
}

process.exitCode = await main();
