import type { SweepView } from '../../agent/api.ts';
import { AgentCommand } from '../../cli/base-command.ts';

export default class HostsSweep extends AgentCommand {
  static override summary = 'Ask for every address of hostRoutes.prefixes, to find servers that never speak.';
  static override description =
    'What is found is in `peerless hosts`. With `hostRoutes.sweep.enabled` it is done at the start and on ports that come up.';
  static override examples = ['<%= config.bin %> <%= command.id %>'];

  override async run(): Promise<SweepView> {
    const { flags } = await this.parse(HostsSweep);
    const sweep = await this.client(flags).send<SweepView>('POST', '/v1/hosts/sweep');
    const { interfaces, addresses, questions, seconds } = sweep;
    this.log(
      `Asking for ${addresses} addresses on ${interfaces} interfaces: ${questions} questions, about ${seconds} s.`,
    );
    return sweep;
  }
}
