import { Flags } from '@oclif/core';
import type { LabUpOptions, LabUpResult } from '../../../lab/index.ts';
import { BaseCommand } from '../../cli/base-command.ts';
import { labName, onProgress } from '../../cli/lab-flags.ts';

export default class LabUp extends BaseCommand {
  static override summary = 'Build the lab of the worked example and wait until all routes are there.';
  static override description =
    `A gateway G, switches A and B that run Peerless, servers C1 to C4 with two links each, and a client: all in
network namespaces of this machine (--containers: G, A and B in podman containers). Needs root, and FRR or BIRD unless G runs Peerless, too. A lab of the same name is removed first.`;
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --gateway bird --protocol bgp',
    '<%= config.bin %> <%= command.id %> --containers',
    {
      description: "Look at switch A's agent:",
      command: '<%= config.bin %> status --socket /run/peerless-lab/peerless/A/control.sock',
    },
  ];
  static override flags = {
    name: labName,
    gateway: Flags.string({ description: 'what routes on G', options: ['frr', 'bird', 'peerless'], default: 'frr' }),
    protocol: Flags.string({
      description: 'between G and the switches',
      options: ['ospf', 'bgp', 'both'],
      default: 'ospf',
    }),
    ports: Flags.string({
      description:
        "server ports routed, in a bridge, or routed on switches that are SONiC's (a Redis each, and stand-ins for its daemons)",
      options: ['routed', 'bridge', 'sonic'],
      default: 'routed',
    }),
    family: Flags.string({
      description: 'IP versions; IPv6 needs BGP',
      options: ['4', '6', 'both'],
      default: '4',
    }),
    updelay: Flags.integer({
      description: 'milliseconds that a server waits before it uses a primary link that is back',
      default: 200,
      min: 0,
    }),
    'lsa-timers': Flags.string({
      description: "FRR's OSPF timers as G: short ones, or its own defaults",
      options: ['fast', 'default'],
      default: 'fast',
    }),
    containers: Flags.boolean({ description: 'G, A and B in podman containers instead of plain namespaces' }),
    image: Flags.string({
      description: "G's image; without it one is built from Debian's packages",
      dependsOn: ['containers'],
      helpValue: 'IMAGE',
    }),
  };

  override async run(): Promise<LabUpResult> {
    const { flags } = await this.parse(LabUp);
    const { labUp } = await import('../../../lab/index.ts');
    const options: LabUpOptions = {
      name: flags.name,
      gateway: flags.gateway as 'frr' | 'bird' | 'peerless',
      protocol: flags.protocol as 'ospf' | 'bgp' | 'both',
      ports: flags.ports as 'routed' | 'bridge' | 'sonic',
      families: flags.family === 'both' ? [4, 6] : [flags.family === '6' ? 6 : 4],
      updelay: flags.updelay,
      lsaTimers: flags['lsa-timers'] as 'fast' | 'default',
      containers: flags.containers,
      ...(flags.image === undefined ? {} : { image: flags.image }),
      onProgress,
    };
    const result = await labUp(options);
    this.log(`Lab ${result.name} is up (${result.gateway}, ${result.protocol}). Routes at G:`);
    for (const [address, tors] of Object.entries(result.fib))
      this.log(`  ${address}/${address.includes(':') ? 128 : 32} by ${tors.join(' and ')}`);
    this.log(`Namespaces: ${result.namespaces.join(' ')}`);
    return result;
  }
}
