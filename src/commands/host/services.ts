import type { BackendView, ServiceView } from '../../agent/host-api.ts';
import { HostCommand, inNetworkFlag } from '../../cli/host-command.ts';

export default class HostServices extends HostCommand {
  static override hiddenAliases = ['host:services:list'];
  static override summary = 'List the services: virtual addresses and the backends behind them.';
  static override description =
    'A line a backend. WEIGHT is its share of new connections, CONNECTIONS those that it has, as this host sees them.';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --network blue --json',
  ];
  static override flags = { network: inNetworkFlag };

  override async run(): Promise<ServiceView[]> {
    const { flags } = await this.parse(HostServices);
    const { services } = await this.ask<{ services: ServiceView[] }>(flags, '/services', { network: flags.network });
    const lines = services.flatMap((service): { service?: ServiceView; backend?: BackendView }[] =>
      service.backends.length === 0
        ? [{ service }]
        : service.backends.map((backend, index) => (index === 0 ? { service, backend } : { backend })),
    );
    this.printTable(
      [
        { header: 'NAME', value: ({ service }) => (service ? service.name : ' ') },
        { header: 'NETWORK', value: ({ service }) => (service ? service.network : ' ') },
        {
          header: 'SERVICE',
          value: ({ service }) => (service ? `${service.address}:${service.port}/${service.protocol}` : ' '),
        },
        { header: 'BALANCE', value: ({ service }) => (service ? service.balance : ' ') },
        { header: 'BACKEND', value: ({ backend }) => backend && `${backend.address}:${backend.port}` },
        { header: 'STATE', value: ({ backend }) => backend && healthText(backend) },
        { header: 'WEIGHT', value: ({ backend }) => backend?.weight, align: 'right' },
        { header: 'CONNECTIONS', value: ({ backend }) => backend?.connections, align: 'right' },
      ],
      lines,
      'No services.',
    );
    return services;
  }
}

const healthText = ({ healthy }: BackendView): string | undefined =>
  healthy === undefined ? undefined : healthy ? 'healthy' : 'FAILED';
