import { setPriority } from 'node:os';
import { serveHelper } from '../helper.ts';
import { Prober } from './prober.ts';

// A measurement that waits for its subject measures the waiting.
setPriority(-10);
const prober = new Prober(process.argv[2]!);
prober.start();
serveHelper({
  begin: () => prober.begin(),
  end: (settle: number) => prober.end(settle),
});
