import { Args, Flags } from '@oclif/core';
import type { HostChangeResult } from '../../../agent/host-api.ts';
import { HostCommand, hostDryRun, manyFlag, networkFlag, replaceFlag } from '../../../cli/host-command.ts';

export default class HostServicesAdd extends HostCommand {
  static override summary = 'Put a virtual address in front of backends.';
  static override description = 'At once, and into the configuration file.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> web --network blue --address 10.200.255.10 --port 80 --backend 10.200.1.2:8080,10.200.2.2:8080',
    '<%= config.bin %> <%= command.id %> dns --network blue --address 10.200.255.53 --port 53 --protocol udp --backend 10.200.1.3:53 --check-interval 2s --dry-run',
  ];
  static override args = { name: Args.string({ description: 'name of the service', required: true }) };
  static override flags = {
    network: networkFlag,
    address: Flags.string({ description: "its address, nobody else's", required: true, helpValue: 'ADDRESS' }),
    port: Flags.integer({ description: 'its port', required: true }),
    protocol: Flags.string({ description: 'of both sides', options: ['tcp', 'udp'] }),
    backend: manyFlag('backends', 'who serves it, comma-separated', 'ADDRESS:PORT'),
    balance: Flags.string({ description: 'who is chosen', options: ['random', 'least-loaded'] }),
    'check-interval': Flags.string({ description: 'ask the backends so often; they are not asked when not given' }),
    replace: replaceFlag,
    'dry-run': hostDryRun,
  };

  override async run(): Promise<HostChangeResult> {
    const { args, flags } = await this.parse(HostServicesAdd);
    const { network, address, port, protocol, balance, 'check-interval': interval } = flags;
    const healthCheck = interval === undefined ? undefined : { interval };
    const body = { name: args.name, network, address, port, protocol, backends: flags.backend, balance, healthCheck };
    return this.change(flags, 'POST', 'services', { dryRun: flags['dry-run'], set: flags.replace }, body);
  }
}
