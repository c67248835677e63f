/** A restart withdraws nothing, so the next configuration has to clear what it has no use for. */
import test from 'ava';
import { Handoff } from '../../src/agent/tor/handoff.ts';
import type { TorConfig } from '../../src/config/index.ts';
import { systemClock } from '../../src/model/clock.ts';
import { announce, type Box, cable, eventually, host, inBoxes, upAndThere, withKernel } from '../netlink/helpers.ts';

const silent = () => undefined;
const log = { debug: silent, info: silent, warn: silent, error: silent };

const configuration = (kernel: object, sections: object = {}): TorConfig =>
  ({
    kernel: { table: 254, protocol: 201, handoffTable: null, handoffReader: 'bird', ...kernel },
    hostRoutes: { policy: { prefixes: [], ports: [], limits: { total: 100 } } },
    portLink: [],
    shadow: { enabled: false },
    ...sections,
  }) as never;

async function settleWith(box: Box, config: TorConfig, done: () => boolean): Promise<void> {
  await withKernel(box, async (kernel) => {
    await upAndThere(kernel, 'A1');
    let failed: Error | undefined;
    const handoff = new Handoff({
      config: () => config,
      kernel,
      hosts: {} as never,
      clock: systemClock,
      log,
      onForeignClaim: silent,
      onFabricChange: silent,
      onError: (_, error) => {
        failed = error;
      },
    });
    await handoff.start();
    handoff.settle([]);
    await eventually(() => failed !== undefined || done());
    await handoff.stop();
    if (failed) throw failed;
  });
}

for (const handoffTable of [null, 101]) {
  test.serial(
    `R4.10 a table that is handed over no more is emptied: ${handoffTable ?? 'none'} instead of 100`,
    async (t) => {
      await inBoxes(2, async (tor, servers) => {
        cable(tor, 'A1', servers, 'C1');
        tor.ip('address add 192.0.2.2/30 dev A1');
        await withKernel(tor, async (kernel) => {
          await upAndThere(kernel, 'A1');
          const earlier = kernel.handoffTable({ table: 100 });
          earlier.apply(announce(host('10.10.10.2', kernel.port('A1')!), host('fd00::2', kernel.port('A1')!)));
          await earlier.settled();
        });
        tor.ip('route add 10.10.10.99/32 dev A1 table 100 proto static');
        tor.ip('route add 10.10.10.2/32 dev A1 proto 201 metric 1');
        tor.ip('route add 10.10.10.3/32 dev A1 proto 201 table 77');
        tor.ip('route add default via 192.0.2.1 proto 203 metric 20');
        tor.ip('route add default via 192.0.2.1 proto 202 metric 110');
        const read = { kernel: { table: 77 }, policy: { prefixes: [], ports: [], limits: { total: 100 } } };
        const gone = () =>
          !/proto 203/.test(tor.ip('route show')) &&
          !/proto 201/.test(tor.ip('route show table 100') + tor.ip('-6 route show table 100'));
        await settleWith(tor, configuration({ handoffTable }, { ospf: {}, hostRoutes: read }), gone);
        t.is(tor.ip('route show table 100').trim(), '10.10.10.99 dev A1 proto static scope link');
        t.is(tor.ip('-6 route show table 100'), '');
        t.regex(tor.ip('route show'), /^default via 192\.0\.2\.1 dev A1 proto 202 /m, 'OSPF is spoken still');
        t.regex(tor.ip('route show'), /^10\.10\.10\.2 dev A1 proto 201 /m);
        t.regex(tor.ip('route show table 77'), /^10\.10\.10\.3 /m, 'a table that is a source is left alone');
      });
    },
  );
}
