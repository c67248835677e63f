import type { ReloadResult } from '../../agent/api.ts';
import { AgentCommand } from '../../cli/base-command.ts';
import { forceFlag, guardQuery } from '../../cli/portlink-command.ts';

export default class ConfigReload extends AgentCommand {
  static override summary = 'Have the agent read its configuration file again.';
  static override description =
    'Like SIGHUP, but says what changed, and what only a restart brings into effect. A wrong file changes nothing.';
  static override examples = ['<%= config.bin %> <%= command.id %>'];

  static override flags = { force: forceFlag };

  override async run(): Promise<ReloadResult> {
    const { flags } = await this.parse(ConfigReload);
    const result = await this.client(flags).send<ReloadResult>('POST', '/v1/reload', guardQuery(flags.force));
    for (const change of result.changes) this.log(change);
    if (result.changes.length === 0) this.log('Nothing has changed.');
    for (const change of result.needsRestart) this.log(`needs a restart of the agent: ${change}`);
    return result;
  }
}
