import test from 'ava';
import { ControlError, type ControlServer, type Handler } from '../../src/agent/control/server.ts';
import { serveDrain } from '../../src/agent/tor/drain/control.ts';
import type { DrainOrder } from '../../src/agent/tor/drain/types.ts';

function served() {
  const handlers = new Map<string, Handler>();
  const orders: DrainOrder[] = [];
  const agent = {
    drain: {
      candidates: () => ['A1', 'A2'],
      view: () => ({ ports: [{ port: 'A1' }] }),
      drain: (order: DrainOrder) => orders.push(order),
      undrain: (order: DrainOrder) => orders.push(order),
    },
    management: { through: async () => [] },
    fabric: { readiness: () => ({ ready: true, reason: '' }) },
    loaded: {
      config: {
        portLink: [
          { name: 'fabric', downlinks: ['A1'] },
          { name: 'watch', downlinks: [] },
        ],
      },
    },
  } as unknown as Parameters<typeof serveDrain>[1];
  const on = (method: string, path: string, handler: Handler): unknown => handlers.set(`${method} ${path}`, handler);
  serveDrain({ on } as unknown as ControlServer, agent);
  const ask = async (path: string, body: unknown) =>
    handlers.get(`POST ${path}`)!({ parameters: {}, query: new URLSearchParams(), body });
  return { ask, orders };
}

test('R4.7 an order that names nothing is for all; one that names ports or groups is for these', async (t) => {
  const { ask, orders } = served();
  await ask('/v1/drain', undefined);
  await ask('/v1/drain', { ports: ['A2'], timeout: '2s' });
  await ask('/v1/drain', { groups: ['fabric'] });
  t.deepEqual(
    orders.map(({ ports, whole }) => [ports, whole]),
    [
      [['A1', 'A2'], true],
      [['A2'], false],
      [['A1'], false],
    ],
  );
});

test('R4.7 an order that is not understood, or whose list is empty, is refused and never taken for all', async (t) => {
  const { ask, orders } = served();
  for (const path of ['/v1/drain', '/v1/undrain']) {
    for (const [body, words] of [
      [{ port: ['A1'] }, /port.*(ports|groups)/],
      [{ ports: [] }, /empty/],
      [{ groups: [] }, /empty/],
      [{ groups: ['watch'] }, /no downlinks/],
      [{ ports: 'A1' }, /list/],
      [['A1'], /object/],
      [7, /object/],
    ] as const) {
      const error = await t.throwsAsync(ask(path, body), { instanceOf: ControlError }, JSON.stringify(body));
      t.is(error!.status, 400);
      t.regex(`${error!.message} ${error!.remedy}`, words);
    }
  }
  t.deepEqual(orders, []);
});
