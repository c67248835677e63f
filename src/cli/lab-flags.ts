import { Flags } from '@oclif/core';

export const labName = Flags.string({
  description: "the lab's name, part of its namespaces' names",
  default: 'peerless',
  helpValue: 'NAME',
});

/** Progress goes to standard error, so that the result alone is on standard output. */
export const onProgress = (message: string): void => {
  process.stderr.write(`${message}\n`);
};
