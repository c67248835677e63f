/** An order to drain the port that somebody is logged in through; test/e2e/management-port.test.ts has a real login. */
import test from 'ava';
import { ControlError, type ControlServer, type Handler } from '../../src/agent/control/server.ts';
import { serveDrain } from '../../src/agent/tor/drain/control.ts';
import type { DrainOrder } from '../../src/agent/tor/drain/types.ts';
import { ManagementPort } from '../../src/agent/tor/management-port.ts';
import type { TcpSession } from '../../src/netlink/index.ts';

const PEER = '10.10.10.2';
const SESSION = `${PEER} 40000 10.10.10.254 22`;

/** Somebody is logged in through A2: as the kernel's sockets say, or as the command says of itself. */
function served(known: 'by the kernel' | 'by the command' | 'not at all') {
  const handlers = new Map<string, Handler>();
  const orders: DrainOrder[] = [];
  const warned: string[] = [];
  const management = new ManagementPort({
    groups: () => [],
    spare: () => undefined,
    log: { warn: (_: unknown, text: string) => warned.push(text) },
    logins: async (also: readonly TcpSession[]) => {
      if (known === 'not at all') throw new Error('EACCES');
      const peers: string[] = known === 'by the kernel' ? [PEER] : also.map(({ peer }) => peer);
      return peers.map((peer) => ({ port: 'A2', peer }));
    },
  } as unknown as ConstructorParameters<typeof ManagementPort>[0]);
  const agent = {
    drain: {
      active: true,
      candidates: () => ['A1', 'A2'],
      view: () => ({ ports: [{ port: 'A1' }, { port: 'A2' }] }),
      plan: (_: DrainOrder, warnings: readonly string[]) => ({ warnings }),
      drain: (order: DrainOrder) => orders.push(order),
      undrain: (order: DrainOrder) => orders.push(order),
    },
    management,
    fabric: { readiness: () => ({ ready: true, reason: '' }) },
    loaded: { config: { portLink: [] } },
  } as unknown as Parameters<typeof serveDrain>[1];
  const on = (method: string, path: string, handler: Handler): unknown => handlers.set(`${method} ${path}`, handler);
  serveDrain({ on } as unknown as ControlServer, agent);
  const ask = async (path: string, body: unknown, query: Record<string, string> = {}) =>
    handlers.get(`POST ${path}`)!({ parameters: {}, query: new URLSearchParams(query), body });
  return { ask, orders, warned };
}

for (const [known, query] of [
  ['by the kernel', {}],
  ['by the command', { login: SESSION }],
] as const) {
  test(`a drain of the port of a login, known ${known}, is refused; forced, or of other ports, it is not`, async (t) => {
    const { ask, orders } = served(known);
    for (const body of [undefined, { ports: ['A2'] }, { ports: ['A1', 'A2'] }]) {
      const error = await t.throwsAsync(ask('/v1/drain', body, query), { instanceOf: ControlError });
      t.is(error!.status, 409);
      t.is(error!.message, `somebody is logged in from ${PEER} through A2`);
      t.regex(error!.remedy!, /--force/);
    }
    t.deepEqual(orders, []);

    await ask('/v1/drain', { ports: ['A1'] }, query);
    await ask('/v1/drain', { force: true }, query);
    await ask('/v1/undrain', undefined, query);
    t.deepEqual(
      orders.map(({ ports }) => ports),
      [['A1'], ['A1', 'A2'], ['A1', 'A2']],
    );
  });
}

test('a dry run says who would be cut off, and refuses nothing', async (t) => {
  const { ask, orders } = served('by the kernel');
  t.deepEqual(await ask('/v1/drain', undefined, { dryRun: '1' }), {
    warnings: [`somebody is logged in from ${PEER} through A2`],
  });
  t.deepEqual(await ask('/v1/drain', { ports: ['A1'] }, { dryRun: '1' }), { warnings: [] });
  t.deepEqual(orders, []);
});

test('who is logged in can not be read: said, and no reason to refuse', async (t) => {
  const { ask, orders, warned } = served('not at all');
  await ask('/v1/drain', undefined);
  t.is(orders.length, 1);
  t.deepEqual(warned, ['who is logged in can not be read']);
});
