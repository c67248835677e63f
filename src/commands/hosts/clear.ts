import { Args, Flags } from '@oclif/core';
import type { ClearRequest, ClearView } from '../../agent/api.ts';
import { AgentCommand, CommandFailure, EXIT } from '../../cli/base-command.ts';
import { age } from '../../cli/format.ts';

export default class HostsClear extends AgentCommand {
  static override summary =
    "Forget a host's moves and false claims: one that is held where it is may move again at once.";
  static override description =
    `A host that is heard at two places in turn is called a duplicate and held where it is, up to a minute each time. One that
answered where it was although somebody else claimed it is held likewise: for a minute whoever claims it waits until it is
silent there. Once the two have been told apart this spares the wait: the host is asked where it is, and what it says next
is believed.`;
  static override examples = [
    '<%= config.bin %> <%= command.id %> 10.10.10.2',
    { description: 'What counts against whom:', command: '<%= config.bin %> <%= command.id %> --all --dry-run' },
  ];
  static override args = { address: Args.string({ description: 'of the host' }) };
  static override flags = {
    all: Flags.boolean({ description: 'of all hosts' }),
    'dry-run': Flags.boolean({ description: 'only say what would be forgotten' }),
  };

  override async run(): Promise<ClearView> {
    const { args, flags } = await this.parse(HostsClear);
    if ((args.address === undefined) !== Boolean(flags.all)) {
      throw new CommandFailure(EXIT.usage, 'one address, or --all', 'See peerless hosts: STATE is duplicate.');
    }
    const body: ClearRequest = args.address === undefined ? {} : { address: args.address };
    const query = flags['dry-run'] ? { dryRun: true } : {};
    const view = await this.client(flags).send<ClearView>('POST', '/v1/hosts/clear', query, body);
    this.printTable(
      [
        { header: 'ADDRESS', value: (host) => host.address },
        { header: 'PORT', value: (host) => host.port },
        { header: 'HELD', value: (host) => (host.held ? 'yes' : 'no') },
        { header: 'HOLD', value: (host) => (host.hold === 0 ? '-' : age(host.hold)), align: 'right' },
        { header: 'MOVES', value: (host) => host.moves, align: 'right' },
        { header: 'SUSPECT', value: (host) => (host.suspicion ? age(host.suspicion) : '-'), align: 'right' },
      ],
      view.hosts,
      `Nothing counts against ${args.address ?? 'anybody'}.`,
    );
    if (view.hosts.length > 0) this.log(view.dryRun ? 'Nothing was changed.' : 'Forgotten.');
    return view;
  }
}
