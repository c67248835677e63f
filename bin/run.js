import { execute, settings } from '@oclif/core';

// What runs is what was built: never look for TypeScript sources beside it, nor for plug-ins in somebody's home.
settings.enableAutoTranspile = false;

// Not awaited: when nobody reads what is written any more (`| head -1`), its last flush never ends, and that is no error.
void execute({ dir: import.meta.url, loadOptions: { devPlugins: false, userPlugins: false } });
