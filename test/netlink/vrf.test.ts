/**
 * Ports in a VRF: on a simulated kernel, for the one at hand has no VRF. What a VRF looks like in a link message is in the
 * format of iproute2 and linux/if_link.h.
 */
import test from 'ava';
import type { Mac } from '../../src/model/address.ts';
import type { HostRoute } from '../../src/model/hosts.ts';
import type { Port } from '../../src/model/ports.ts';
import { HostRouteInstaller, type PortTable, type RouteSocket } from '../../src/netlink/index.ts';
import { address } from '../hostroutes/helpers.ts';
import { Box } from '../simulation/box.ts';
import { VirtualClock } from '../simulation/clock.ts';

const RED = { name: 'red', ifindex: 77, kind: 'vrf', vrfTable: 1001 };

class Bench {
  readonly box = new Box('A', 10, () => {});
  readonly installer: HostRouteInstaller;
  /** Ports that are members of the VRF. */
  readonly red = new Set(['A1']);

  constructor() {
    for (const name of ['A1', 'A2']) this.box.addPort(name, '02:aa:00:00:00:01' as Mac, []);
    const { box } = this;
    const socket: RouteSocket = {
      async sendNow(batch) {
        for (const request of batch) box.request(request);
        return { sent: batch.length, refused: [] };
      },
      setRoute: async () => {},
      dumpRoutes: async ({ family, protocol, table }) =>
        [...box.routes.values()].filter(
          (route) =>
            route.family === family && route.protocol === protocol && (table === undefined || route.table === table),
        ),
      dumpNeighbours: async () => [...box.neighbours.values()],
    };
    const links: PortTable = {
      port: () => undefined,
      portByIndex: (ifindex) => {
        if (ifindex === RED.ifindex) return { ...this.#port('A2')!, ...RED } as Port;
        return [...box.ports.keys()].map((name) => this.#port(name)!).find((port) => port.ifindex === ifindex);
      },
      portTowards: () => undefined,
      afterChange: () => () => {},
      afterResync: () => () => {},
    };
    this.installer = new HostRouteInstaller(socket, links, new VirtualClock());
  }

  host(text: string, port: string): HostRoute {
    const { ifindex } = this.box.ports.get(port)!;
    return { address: address(text), interface: port, ifindex, mac: '02:00:00:00:00:01' as Mac, level: 0 };
  }

  routes(): string[] {
    return [...this.box.routes.values()].map(({ destination, table }) => `${destination} ${table}`).toSorted();
  }

  #port(name: string): Port | undefined {
    const port = this.box.ports.get(name);
    return port && { ...this.box.shown(port), master: this.red.has(name) ? RED.ifindex : 0 };
  }
}

test("R4.1 the host of a port in a VRF is routed in the VRF's table, the others in kernel.table", async (t) => {
  const bench = new Bench();
  const [one, two] = [bench.host('10.10.10.1', 'A1'), bench.host('10.10.10.2', 'A2')];
  bench.installer.apply({ withdrawn: [], announced: [one, two] });
  t.deepEqual(bench.routes(), ['10.10.10.1/32 1001', '10.10.10.2/32 254']);
  t.deepEqual(
    await bench.installer.adopt(),
    [one, two].map(({ address: of, ifindex }) => ({ address: of, ifindex })),
  );
  t.like(await bench.installer.reconcile([one, two]), { kept: 2, added: 0, removed: 0 });

  t.log('it moves out of the VRF and back: no route is left behind');
  bench.installer.apply({ withdrawn: [], announced: [bench.host('10.10.10.1', 'A2')] });
  t.deepEqual(bench.routes(), ['10.10.10.1/32 254', '10.10.10.2/32 254']);
  bench.installer.apply({ withdrawn: [], announced: [one] });
  t.deepEqual(bench.routes(), ['10.10.10.1/32 1001', '10.10.10.2/32 254']);
  bench.installer.apply({ withdrawn: [one.address], announced: [] });
  t.deepEqual(bench.routes(), ['10.10.10.2/32 254']);
});

test('R4.7 what an earlier life left in the table of a VRF is compared and removed like the rest', async (t) => {
  const bench = new Bench();
  bench.installer.apply({ withdrawn: [], announced: [bench.host('10.10.10.1', 'A1'), bench.host('10.10.10.3', 'A1')] });
  const report = await bench.installer.reconcile([bench.host('10.10.10.1', 'A1')]);
  t.like(report, { kept: 1, removed: 1 });
  t.deepEqual(bench.routes(), ['10.10.10.1/32 1001']);

  t.log("a port that was put into the VRF meanwhile: what stands in the main table is not its host's route any more");
  bench.installer.apply({ withdrawn: [], announced: [bench.host('10.10.10.2', 'A2')] });
  bench.red.add('A2');
  await bench.installer.reconcile([bench.host('10.10.10.1', 'A1'), bench.host('10.10.10.2', 'A2')]);
  t.deepEqual(bench.routes(), ['10.10.10.1/32 1001', '10.10.10.2/32 1001']);
});
