import { execute, settings } from '@oclif/core';

// What runs is what was built: never look for TypeScript sources beside it, nor for plug-ins in somebody's home.
settings.enableAutoTranspile = false;

// As other programs have it: `peerless help portlink set`, `peerless version`.
const given = process.argv.slice(2);
const [word, ...rest] = given;
const args = word === 'help' ? [...rest, '--help'] : word === 'version' ? ['--version'] : given;

// Not awaited: when nobody reads what is written any more (`| head -1`), its last flush never ends, and that is no error.
void execute({ args, dir: import.meta.url, loadOptions: { devPlugins: false, userPlugins: false } });
