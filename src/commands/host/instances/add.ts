import { Args, Flags } from '@oclif/core';
import type { HostChangeResult } from '../../../agent/host-api.ts';
import { HostCommand, hostDryRun, networkFlag, replaceFlag } from '../../../cli/host-command.ts';

export default class HostInstancesAdd extends HostCommand {
  static override summary = 'Attach an instance to a virtual network.';
  static override description =
    "At once, and into the configuration file. The interface is the host's side of its veth or tap; it may come later.";
  static override examples = [
    '<%= config.bin %> <%= command.id %> c2 --network blue --address 10.200.1.3 --interface veth-c2',
    '<%= config.bin %> <%= command.id %> c2 --network blue --address 10.200.1.3 --interface veth-c2 --dry-run',
  ];
  static override args = { name: Args.string({ description: 'name of the instance', required: true }) };
  static override flags = {
    network: networkFlag,
    address: Flags.string({ description: 'its address', required: true, helpValue: 'ADDRESS' }),
    interface: Flags.string({ description: "the host's side of its veth or tap", required: true, helpValue: 'DEVICE' }),
    mac: Flags.string({ description: 'learned from what it sends when not given', helpValue: 'MAC' }),
    replace: replaceFlag,
    'dry-run': hostDryRun,
  };

  override async run(): Promise<HostChangeResult> {
    const { args, flags } = await this.parse(HostInstancesAdd);
    const { network, address, mac } = flags;
    const body = { name: args.name, network, address, mac, interface: flags.interface };
    return this.change(flags, 'POST', 'instances', { dryRun: flags['dry-run'], set: flags.replace }, body);
  }
}
