/** The agent from the sources, for a lab that runs from the sources itself: a stale build is never what is measured. */
import { parseArgs } from 'node:util';
import { runAgent } from '../../src/agent/index.ts';

const { values } = parseArgs({
  options: { config: { type: 'string' }, 'hold-at-boot': { type: 'boolean', default: false } },
});
await runAgent({ configFile: values.config!, holdAtBoot: values['hold-at-boot'], logLevel: 'info' });
