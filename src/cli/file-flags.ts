import { Flags } from '@oclif/core';

/** The configuration, for commands that work without the agent. */
export const configFlag = Flags.string({
  char: 'c',
  description: 'configuration file',
  default: '/etc/peerless/peerless.yaml',
  helpValue: 'FILE',
});

/** Whether an agent answers is asked there. */
export const configuredSocketFlag = Flags.string({
  description: "control socket of the agent; otherwise the configuration's",
  env: 'PEERLESS_SOCKET',
  helpValue: 'PATH',
});
