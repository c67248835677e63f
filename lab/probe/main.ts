import { setPriority } from 'node:os';
import { serveHelper } from '../helper.ts';
import { familiesFrom } from '../topology/plan.ts';
import { type Endpoint, type Pair, Prober } from './prober.ts';

// A measurement that waits for its subject measures the waiting.
setPriority(-10);
const prober = new Prober(process.argv[2]!, familiesFrom(process.argv[3]));
prober.start();
serveHelper({
  begin: () => prober.begin(),
  endpoints: (endpoints: readonly Endpoint[]) => prober.endpoints(endpoints),
  pairs: (pairs: readonly Pair[]) => prober.pairs(pairs),
  end: (settle: number) => prober.end(settle),
});
