import { Flags } from '@oclif/core';
import type { LogLevel } from '../agent/index.ts';
import { BaseCommand, CommandFailure, EXIT } from '../cli/base-command.ts';
import { configFlag } from '../cli/file-flags.ts';

export default class Agent extends BaseCommand {
  static override enableJsonFlag = false;
  static override summary = 'Run the agent in the foreground.';
  static override description =
    `By the role of its configuration. On a switch (tor) it learns the hosts behind its ports, announces them upstream, and shuts
the ports of a port-link group when its uplinks are gone. Upstream (gateway) it keeps the map of where each host is. On a host
of VMs or containers (host) it carries their virtual networks.

SIGHUP reloads the configuration, SIGTERM and SIGINT leave cleanly, SIGUSR2 leaves everything as it is for the next agent to
go on with (peerless restart). It tells systemd (Type=notify) when it is ready.

Started by root it keeps only the privileges that its role needs (docs/install.md has the list).`;
  static override examples = [
    '<%= config.bin %> <%= command.id %> --config /etc/peerless/peerless.yaml',
    {
      description: 'Start with all downlinks shut until the routing sessions are up:',
      command: '<%= config.bin %> <%= command.id %> --config /etc/peerless/peerless.yaml --hold-at-boot',
    },
  ];
  static override flags = {
    config: configFlag,
    'hold-at-boot': Flags.boolean({ description: 'keep the downlinks shut until the uplinks are known to be up' }),
    // Acted on before this program starts: bin/privileges.sh.
    'keep-privileges': Flags.boolean({
      description: 'keep all that whoever starts it may do, not only what its role needs',
    }),
    'log-level': Flags.string({
      description: 'least severity to log',
      options: ['debug', 'info', 'warn', 'error'],
      default: 'info',
    }),
    'log-file': Flags.string({ description: 'log here instead of to standard output', helpValue: 'FILE' }),
  };

  override async run(): Promise<void> {
    const { flags } = await this.parse(Agent);
    const { ConfigRefused, runAgent } = await import('../agent/index.ts');
    try {
      await runAgent({
        configFile: flags.config,
        holdAtBoot: flags['hold-at-boot'],
        logLevel: flags['log-level'] as LogLevel,
        ...(flags['log-file'] === undefined ? {} : { logFile: flags['log-file'] }),
      });
    } catch (error) {
      if (!(error instanceof ConfigRefused)) throw error;
      throw new CommandFailure(EXIT.usage, `the configuration is wrong:\n${error.message}`);
    }
  }
}
