/**
 * `./run demo`: the worked example fails over before one's eyes, by OSPF and by BGP; today's practice beside it on
 * request. Exit code 1 when a route went wrong or a server that has nothing to do with a fault lost a packet.
 */
import { parseArgs } from 'node:util';
import { claimLab, LabTakenError } from './claim.ts';
import { type LabResult, labDown, labRun, labUp, type Protocol, passed, renderTable } from './index.ts';
import { checkName } from './state.ts';

const USAGE = `usage: ./run demo [--runs N] [--gateway frr|bird] [--protocol ospf|bgp] [--compare frr] [--json]

  --runs N        how often each case (default 3)
  --gateway KIND  what routes on G (default frr)
  --protocol P    only this protocol (default: ospf, then bgp)
  --compare frr   also with today's practice as the switches: FRR, a redistributor, a link-tracking script
  --json          the results as JSON on standard output

  ./run demo --host   containers of overlay hosts behind the switches (--host --help)
  ./run demo --all    the same encrypted, with rotating keys and a drain
`;

const NAME = 'demo';
checkName(NAME);

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      runs: { type: 'string', default: '3' },
      gateway: { type: 'string', default: 'frr' },
      protocol: { type: 'string' },
      compare: { type: 'string' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(USAGE);
    return 0;
  }
  const runs = Number(values.runs);
  const gateway = values.gateway;
  const protocols: readonly Protocol[] =
    values.protocol === undefined ? ['ospf', 'bgp'] : [values.protocol as Protocol];
  if (
    !Number.isInteger(runs) ||
    runs < 1 ||
    (gateway !== 'frr' && gateway !== 'bird') ||
    protocols.some((protocol) => protocol !== 'ospf' && protocol !== 'bgp' && protocol !== 'both') ||
    (values.compare !== undefined && values.compare !== 'frr')
  ) {
    process.stderr.write(USAGE);
    return 2;
  }
  const onProgress = (text: string): void => {
    process.stderr.write(`${text}\n`);
  };
  claimLab(NAME, './run demo');
  const results: LabResult[] = [];
  try {
    for (const protocol of protocols) {
      onProgress(`\n== ${protocol.toUpperCase()} ==`);
      await labUp({ name: NAME, gateway, protocol, onProgress });
      results.push(
        await labRun({
          name: NAME,
          runs,
          onProgress,
          ...(values.compare === undefined ? {} : { compare: ['frr'] as const }),
        }),
      );
    }
  } finally {
    await labDown({ name: NAME, onProgress });
  }
  process.stdout.write(
    values.json
      ? `${JSON.stringify(results, null, 2)}\n`
      : results.map((result) => `\n${renderTable(result)}`).join(''),
  );
  return results.every(passed) ? 0 : 1;
}

if (process.argv.includes('--host') || process.argv.includes('--all')) await import('./overlay/demo.ts');
else await runMain();

function runMain(): Promise<void> {
  return main().then(
    (code) => {
      process.exitCode = code;
    },
    (error: unknown) => {
      if (error instanceof LabTakenError) {
        process.stderr.write(`demo: ${error.message}\n`);
        process.exitCode = 2;
        return;
      }
      const usage = error instanceof TypeError && 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS');
      process.stderr.write(usage ? `${(error as Error).message}\n${USAGE}` : `demo: ${(error as Error).stack}\n`);
      process.exitCode = usage ? 2 : 1;
    },
  );
}
