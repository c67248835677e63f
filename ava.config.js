// Tests run on the TypeScript sources themselves: Node strips the types, and the "source" condition makes the
// workspace packages resolve to their sources too, so a stale build can never be what is tested.
//
// Tests that build whole labs stand apart (ava.labs.config.js): they count lost packets, so no more of them run at once
// than there are processors. The others mostly wait for timers of routing daemons.
export const LABS = ['test/e2e/**/*.test.ts', 'test/lab/**/*.test.ts', 'test/bgp/graceful-restart.test.ts'];

const common = {
  extensions: { ts: 'module' },
  nodeArguments: ['--conditions=source'],
  workerThreads: false,
  timeout: '5m',
};

export default {
  ...common,
  concurrency: 4,
  files: ['packages/*/test/**/*.test.ts', 'test/**/*.test.ts', ...LABS.map((pattern) => `!${pattern}`)],
};

export const labs = { ...common, concurrency: 2, files: LABS };
