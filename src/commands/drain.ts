import { Flags } from '@oclif/core';
import type { DrainPlan, DrainView } from '../agent/api.ts';
import { EXIT } from '../cli/base-command.ts';
import { DrainCommand, drainFlags, orderOf } from '../cli/drain-command.ts';
import { dryRunFlag } from '../cli/portlink-command.ts';

export default class Drain extends DrainCommand {
  static override summary = 'Take all servers to the other switch, without loss to them: for planned work on this one.';
  static override description =
    `First everything that this switch announces becomes less preferable (GRACEFUL_SHUTDOWN, RFC 8326, and a longer path in
BGP; the worst metric in OSPF). Then the ports to servers are shut one by one: packets for the hosts of a port wait until the
other switch is seen, through the fabric, to announce them. A port with a host that nobody else announces is opened again and
kept, unless --force is given. What a server sends until it has noticed that its link is gone is lost: its bond knows how long.

The work is the agent's: it goes on when this command is killed. Ctrl-C stops after the port that is under way. A drained
switch stays drained over restarts, until \`peerless undrain\`. Exit code 1: not everything is drained.`;
  static override examples = [
    { description: 'Which ports and hosts:', command: '<%= config.bin %> <%= command.id %> --dry-run' },
    '<%= config.bin %> <%= command.id %>',
    { description: 'One port only:', command: '<%= config.bin %> <%= command.id %> --port A2' },
  ];
  static override flags = {
    ...drainFlags,
    timeout: Flags.string({
      description: 'how long the hosts of a port may take to be seen at the other switch',
      default: '5s',
      helpValue: '5s',
    }),
    force: Flags.boolean({ description: 'although hosts have no other path, or somebody is logged in through a port' }),
    'dry-run': dryRunFlag,
  };

  override async run(): Promise<DrainPlan | undefined> {
    const { flags } = await this.parse(Drain);
    const client = this.client(flags);
    const order = orderOf(flags);
    const login = process.env.SSH_CONNECTION;
    if (flags['dry-run']) {
      const plan = await client.send<DrainPlan>('POST', '/v1/drain', { dryRun: true, login }, order);
      this.#print(plan);
      return plan;
    }
    const view = await this.watch(client, await client.send<DrainView>('POST', '/v1/drain', { login }, order));
    if (view.phase === 'drained') return this.conclude(view, view.reason);
    this.endWith(EXIT.no);
    const remedy = '`peerless drain` goes on with what is left, `peerless undrain` brings everything back.';
    return this.conclude(view, view.reason, remedy);
  }

  #print(plan: DrainPlan): void {
    this.log('Dry run: nothing was changed. This would be done:');
    if (plan.preference === 'lowered') this.log('  all announcements become less preferable');
    for (const { port, hosts } of plan.ports) {
      this.log(`  shut ${port}${hosts.length === 0 ? ', which has no hosts' : ''}`);
      for (const { address, otherPath } of hosts) {
        this.log(
          `    ${address}  ${otherPath.length > 0 ? `announced by ${otherPath.join(', ')} too` : 'moves, if it has a standby link'}`,
        );
      }
    }
    if (plan.ports.length === 0) this.log('  nothing');
    for (const warning of plan.warnings) this.log(`WARNING: ${warning}`);
  }
}
