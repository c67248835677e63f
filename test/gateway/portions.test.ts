/** Ten thousand hosts in the map: whoever asks for them does not keep the gateway from its work. */
import { mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { PORTION } from '../../src/agent/control/list-answer.ts';
import { ControlServer } from '../../src/agent/control/server.ts';
import { serveMap } from '../../src/agent/gateway/map-control.ts';
import { RUN, sorted } from '../../src/agent/gateway/sorted.ts';
import type { MapHistoryView, MapRowView } from '../../src/agent/map-api.ts';
import { GatewayMap } from '../../src/gateway/index.ts';
import { type Address, ipv4FromNumber } from '../../src/model/address.ts';
import { systemClock } from '../../src/model/clock.ts';
import { HISTORY, routerIdOf, START } from './support/example.ts';

const HOSTS = 10_000;
/** 10.10.0.0, the first of them. */
const FIRST = 0x0a0a0000;
const SILENT = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

/** How often something was done in the turn of the loop in which it was done most. */
class PerTurn {
  most = 0;
  total = 0;
  #now = 0;

  count(): void {
    if (this.#now++ === 0) {
      setImmediate(() => {
        this.#now = 0;
      });
    }
    this.total++;
    this.most = Math.max(this.most, this.#now);
  }
}

function mapOf(t: ExecutionContext, addresses: readonly Address[]): GatewayMap {
  const map = new GatewayMap({
    history: HISTORY,
    clock: systemClock,
    wallClock: () => START,
    log: SILENT,
    store: { read: () => undefined, write: () => Promise.resolve() },
    onNews: () => {},
  });
  t.teardown(() => map.close());
  for (const address of addresses) {
    const route = { address, routerId: routerIdOf('A'), portIndex: 1, shadow: false, up: true };
    map.handle({ type: 'host', source: 'bgp', route });
  }
  return map;
}

async function serve(t: ExecutionContext, map: Parameters<typeof serveMap>[1]['map']): Promise<string> {
  const directory = mkdtempSync(join(tmpdir(), 'peerless-portions-'));
  const server = new ControlServer();
  serveMap(server, { map });
  const path = join(directory, 'agent.sock');
  await server.listen(path);
  t.teardown(async () => {
    await server.close();
    rmSync(directory, { recursive: true });
  });
  return path;
}

function ask<T>(socketPath: string, path: string): Promise<T> {
  return new Promise((resolve, reject) => {
    const call = request({ socketPath, path }, async (response) => {
      let text = '';
      for await (const chunk of response.setEncoding('utf8') as AsyncIterable<string>) text += chunk;
      resolve(JSON.parse(text) as T);
    });
    call.on('error', reject);
    call.end();
  });
}

test('R4.8 ten thousand addresses are shown a few in each turn of the loop, all of them, in order', async (t) => {
  const addresses = Array.from({ length: HOSTS }, (_, index) => ipv4FromNumber(FIRST + index));
  // As they are heard, which is no order.
  const heard = addresses.toSorted();
  const map = mapOf(t, heard);
  const rows = new PerTurn();
  const path = await serve(t, {
    judged: () => map.judged(),
    addresses: () => map.addresses(),
    row: (address) => {
      rows.count();
      return map.row(address);
    },
    switches: () => map.switches(),
    history: () => map.history(),
  });
  const shown = await ask<MapRowView[]>(path, '/v1/map');
  t.deepEqual(
    shown.map(({ address }) => address),
    addresses,
  );
  t.is(rows.total, HOSTS);
  t.true(rows.most <= PORTION, `${rows.most} rows in one turn`);
  t.true(shown.every(({ places }) => places.length === 1));
  const history = await ask<MapHistoryView[]>(path, '/v1/map/history');
  t.is(history.length, HOSTS);
  t.deepEqual(Object.fromEntries(await map.states()), { standby: HOSTS });
});

test('one address is answered alone, judged', async (t) => {
  const map = mapOf(t, ['10.10.10.2' as Address, '10.10.10.3' as Address]);
  const path = await serve(t, map);
  const [row, ...more] = await ask<MapRowView[]>(path, '/v1/map?address=10.10.10.2');
  t.is(row?.state, 'standby');
  t.deepEqual(more, []);
  t.deepEqual(await ask(path, '/v1/map?address=10.10.10.9'), []);
});

test('who is told that all is judged is not kept waiting by what is heard meanwhile', async (t) => {
  const map = mapOf(t, ['10.10.10.2' as Address]);
  let talking = true;
  let next = FIRST;
  const talk = (): void => {
    for (let count = 0; count < 1_000; count++) {
      const route = {
        address: ipv4FromNumber(next++),
        routerId: routerIdOf('A'),
        portIndex: 1,
        shadow: false,
        up: true,
      };
      map.handle({ type: 'host', source: 'bgp', route });
    }
    if (talking && next < FIRST + 60_000) setImmediate(talk);
  };
  const judged = map.judged();
  talk();
  await judged;
  talking = false;
  t.is(map.row('10.10.10.2' as Address)?.state, 'standby');
});

test('a sort that rests is a stable sort', (t) => {
  for (const length of [0, 1, RUN, RUN + 1, 5 * RUN + 7]) {
    const items = Array.from({ length }, (_, index) => ({ key: (index * 7919) % 101, index }));
    const script = sorted(items, (one, other) => one.key - other.key);
    let step = script.next();
    let rests = 0;
    for (; !step.done; step = script.next()) rests++;
    t.deepEqual(
      step.value,
      items.toSorted((one, other) => one.key - other.key),
    );
    t.true(rests >= Math.floor(length / RUN));
  }
});
