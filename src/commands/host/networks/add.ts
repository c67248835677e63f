import { Args, Flags } from '@oclif/core';
import type { HostChangeResult } from '../../../agent/host-api.ts';
import { HostCommand, hostDryRun, replaceFlag } from '../../../cli/host-command.ts';

export default class HostNetworksAdd extends HostCommand {
  static override summary = 'Add a virtual network.';
  static override description =
    'At once, and into the configuration file. With --replace, what is in the network is attached anew.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> blue --vni 100 --subnet 10.200.0.0/16 --gateway 10.200.0.1',
    '<%= config.bin %> <%= command.id %> red --vni 200 --subnet 10.200.0.0/16 --dry-run',
  ];
  static override args = { name: Args.string({ description: 'name of the network', required: true }) };
  static override flags = {
    vni: Flags.integer({ description: 'its number, the same on every host', required: true }),
    subnet: Flags.string({ description: 'its addresses', required: true, helpValue: 'PREFIX' }),
    gateway: Flags.string({ description: "the instances' gateway, on every host", helpValue: 'ADDRESS' }),
    encapsulation: Flags.string({ description: 'of its tunnels', options: ['vxlan', 'gre', 'geneve', 'ipip'] }),
    replace: replaceFlag,
    'dry-run': hostDryRun,
  };

  override async run(): Promise<HostChangeResult> {
    const { args, flags } = await this.parse(HostNetworksAdd);
    const { vni, subnet, gateway, encapsulation } = flags;
    const query = { dryRun: flags['dry-run'], set: flags.replace };
    return this.change(flags, 'POST', 'networks', query, { name: args.name, vni, subnet, gateway, encapsulation });
  }
}
