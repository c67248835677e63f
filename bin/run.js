import { execute, settings } from '@oclif/core';

// What runs is what was built: never look for TypeScript sources beside it, nor for plug-ins in somebody's home.
settings.enableAutoTranspile = false;

await execute({ dir: import.meta.url, loadOptions: { devPlugins: false, userPlugins: false } });
