/** The agent from the sources: `node agent-main.ts FILE`. */
import { runAgent } from '../../../src/agent/index.ts';

await runAgent({ configFile: process.argv[2]!, holdAtBoot: false, logLevel: 'debug' });
