// Tests run on the TypeScript sources themselves: Node strips the types, and the "source" condition makes the
// workspace packages resolve to their sources too, so a stale build can never be what is tested.
export default {
  extensions: { ts: 'module' },
  nodeArguments: ['--conditions=source'],
  files: ['packages/*/test/**/*.test.ts', 'test/**/*.test.ts'],
  workerThreads: false,
  timeout: '5m',
};
