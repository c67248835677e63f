import { Args, Flags } from '@oclif/core';
import type { ChangeResult } from '../agent/api.ts';
import { AgentCommand } from './base-command.ts';

export const groupName = Args.string({ name: 'name', description: 'name of the group', required: true });

export const dryRunFlag = Flags.boolean({ description: 'say what would be done, and do nothing' });

export const forceFlag = Flags.boolean({
  description: 'even if it may shut the port that somebody is logged in through',
});

/** What the agent has to know to keep the operator from cutting himself off. */
export const guardQuery = (force: boolean) => ({ force, login: process.env.SSH_CONNECTION });

export const groupPath = (name: string, action = ''): string => `/v1/portlink/${encodeURIComponent(name)}${action}`;

/** A command that changes a group. */
export abstract class PortLinkCommand extends AgentCommand {
  protected printChange(result: ChangeResult): ChangeResult {
    if (result.dryRun) this.log('Dry run: nothing was changed. This would be done:');
    for (const action of result.actions) this.log(result.dryRun ? `  ${action}` : action);
    if (result.actions.length === 0) this.log(result.dryRun ? '  nothing' : 'Nothing to do.');
    if (result.group && !result.dryRun)
      this.log(`${result.group.name} is ${result.group.state}: ${result.group.reason}`);
    return result;
  }
}
