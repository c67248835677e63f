import { Flags } from '@oclif/core';
import type { RunningConfigView } from '../../agent/api.ts';
import { AgentCommand, CommandFailure, EXIT } from '../../cli/base-command.ts';

export default class ConfigShow extends AgentCommand {
  static override summary = 'Show the running configuration, defaults included.';
  static override description =
    'As YAML that could be the configuration file. Secrets are never shown: the file names their files.';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    {
      description: 'What a file means, without an agent:',
      command: '<%= config.bin %> <%= command.id %> --file peerless.yaml',
    },
  ];
  static override flags = {
    file: Flags.string({ description: 'show this file with its defaults instead of what runs', helpValue: 'FILE' }),
  };

  override async run(): Promise<unknown> {
    const { flags } = await this.parse(ConfigShow);
    const { stringify } = await import('yaml');
    if (flags.file === undefined) {
      const running = await this.client(flags).get<RunningConfigView>('/v1/config');
      this.log(`# ${running.file}, loaded ${running.loadedAt}\n${stringify(running.config).trimEnd()}`);
      return running;
    }
    const { formatProblem, loadConfig } = await import('../../config/index.ts');
    const loaded = loadConfig(flags.file);
    if (!loaded.ok)
      throw new CommandFailure(
        EXIT.usage,
        `the configuration is wrong:\n${loaded.problems.map(formatProblem).join('\n')}`,
      );
    this.log(stringify(loaded.settings).trimEnd());
    return loaded.settings;
  }
}
