import { Args, Flags } from '@oclif/core';
import { BaseCommand, EXIT } from '../../cli/base-command.ts';
import { interfaceNames, loginPorts, ownAddresses, vrfMembers } from '../../cli/interfaces.ts';
import type { Problem } from '../../config/index.ts';

const ANOTHER_BOX =
  'None of its interfaces is on this machine, so they were not looked at: check it where they are, or with --netns.';

export default class ConfigCheck extends BaseCommand {
  static override summary = 'Check a configuration file.';
  static override description =
    `Reports every problem as FILE:LINE:COLUMN: what is wrong, and what to do about it. Also checks that the secret files
can be read by their owner alone, that the interfaces exist and fit, and that no group may shut the port through which somebody
is logged in. Exit code 2 when something is wrong. A file that names two or more, none of which is here, is taken for another
machine's, as is one of role host when its underlay address is not here either: that is said, and is not wrong.`;
  static override examples = [
    '<%= config.bin %> <%= command.id %> /etc/peerless/peerless.yaml',
    {
      description: 'On another machine than the switch:',
      command: '<%= config.bin %> <%= command.id %> peerless.yaml --offline',
    },
  ];
  static override args = { file: Args.string({ description: 'configuration file', required: true }) };
  static override flags = {
    offline: Flags.boolean({ description: "don't look for the interfaces on this machine" }),
    netns: Flags.string({
      description: 'look for the interfaces in this network namespace',
      helpValue: 'NAME',
      exclusive: ['offline'],
    }),
  };

  override async run(): Promise<{ ok: boolean; problems: readonly Problem[]; notes?: readonly string[] }> {
    const { args, flags } = await this.parse(ConfigCheck);
    const config = await import('../../config/index.ts');
    const { formatProblem, isOfAnotherBox, loadConfig, managementProblems, missingPorts, vrfProblems } = config;
    const loaded = loadConfig(args.file);
    const existing = loaded.ok && !flags.offline ? await interfaceNames(flags.netns) : undefined;
    const here = flags.netns === undefined && existing && { interfaces: existing, addresses: ownAddresses() };
    if (loaded.ok && here && isOfAnotherBox(loaded, here)) {
      this.log(`${args.file}: fine`);
      this.logToStderr(ANOTHER_BOX);
      return { ok: true, problems: [], notes: [ANOTHER_BOX] };
    }
    const problems = !loaded.ok
      ? loaded.problems
      : existing === undefined
        ? []
        : [
            ...missingPorts(loaded, existing),
            ...vrfProblems(loaded, await vrfMembers(flags.netns)),
            ...managementProblems(loaded, await loginPorts(flags.netns)),
          ];
    if (problems.length === 0) {
      this.log(`${args.file}: fine`);
      return { ok: true, problems };
    }
    for (const problem of problems) this.logToStderr(formatProblem(problem));
    this.endWith(EXIT.usage);
    return { ok: false, problems };
  }
}
