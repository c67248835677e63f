import { execute, settings } from '@oclif/core';

// What runs is what was built: never look for TypeScript sources beside it.
settings.enableAutoTranspile = false;

await execute({ dir: import.meta.url });
