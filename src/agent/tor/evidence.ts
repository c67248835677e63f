import type { HostView, SourceView } from '../../hostroutes/index.ts';

/** Why a source believes in a host, in plain words: what exactly was seen or heard last, and where. */
export function evidenceText({ source, how }: SourceView, host: Pick<HostView, 'port' | 'interface'>): string {
  const { port } = host;
  switch (how) {
    case 'arp-request':
      return `an ARP request of its own on ${port}`;
    case 'arp-reply':
      return `its ARP reply on ${port}`;
    case 'arp-gratuitous':
      return `its gratuitous ARP on ${port}`;
    case 'nd-solicitation':
      return `a neighbour solicitation of its own on ${port}`;
    case 'nd-advertisement':
      return `its neighbour advertisement on ${port}`;
    case 'nd-unsolicited':
      return `its unsolicited neighbour advertisement on ${port}`;
    case 'sweep':
      return `its answer to the sweep on ${port}`;
    case 'rarp':
      return `RARP of its MAC on ${port}`;
    case 'bridge':
      return `the bridge has heard its MAC on ${port}`;
    case 'kernel-reachable':
      return `the kernel's neighbour table has reached it on ${host.interface}`;
    case 'kernel-stale':
      return `the kernel's neighbour table has it on ${host.interface}, of unknown age`;
  }
  return SAYS[source](port);
}

/** Where a source can say one thing only. */
const SAYS: Record<SourceView['source'], (port: string) => string> = {
  static: (port) => `the configuration says that it is behind ${port}`,
  bgp: (port) => `a server behind ${port} announces it in its own BGP session`,
  kernel: (port) => `another program has a route for it in the kernel, to ${port}`,
  arp: (port) => `ARP or neighbour discovery on ${port}`,
  neighbour: () => "the kernel's neighbour table has it",
};
