import { setPriority } from 'node:os';
import type { Fib } from '../cases/fib.ts';
import { serveHelper } from '../helper.ts';
import { familiesFrom } from '../topology/plan.ts';
import { Observer } from './observer.ts';

// A measurement that waits for its subject measures the waiting.
setPriority(-10);
const observer = new Observer(process.argv[2]!, familiesFrom(process.argv[3]));
serveHelper({
  begin: () => observer.begin(),
  report: () => observer.report(),
  missed: () => observer.missed(),
  fib: () => observer.fib(),
  forgetClaims: () => observer.forgetClaims(),
  strayClaims: () => observer.strayClaims(),
  home: (home: Fib) => observer.home(home),
});
