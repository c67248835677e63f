import test from 'ava';
import fc from 'fast-check';
import type { Address } from '../../src/model/address.ts';
import type { ClaimLevel } from '../../src/model/hosts.ts';
import { NAMES, type Name, SWITCH, scene } from './support/gateway.ts';
import { hosts } from './support/world.ts';

/** Whatever happens, in whatever order, in the end each switch has of the gateway the best of what the others say. */
const ADDRESSES = ['10.10.10.1', '10.10.10.2', '10.10.10.3', '10.10.10.4'] as Address[];

const name = fc.constantFrom(...NAMES);
const address = fc.constantFrom(...ADDRESSES);
const step = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({ do: fc.constant('announce' as const), name, address, level: fc.nat({ max: 2 }) }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('shadow' as const), name, address }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('withdraw' as const), name, address }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('drain' as const), name, on: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('block' as const), name }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('unblock' as const), name }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('fail' as const), name }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('refresh' as const), name }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('wait' as const), name }) },
);

interface Said {
  readonly level: number;
  readonly shadow: boolean;
}

test('R4.3 R4.5 each switch ends up with the best of what the others say, and G with it and its backup', (t) => {
  let passed = 0;
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const all = scene({ defaultOriginate: false }, NAMES);
      const { clock, gateway, connectionTo, network } = all;
      const said: Record<Name, Map<Address, Said>> = { a: new Map(), b: new Map(), c: new Map() };
      const drained = new Set<Name>();
      for (const one of steps) {
        const { speaker } = all[one.name];
        if (one.do === 'announce' || one.do === 'shadow') {
          const shadow = one.do === 'shadow';
          const level = shadow ? 0 : (one.level as ClaimLevel);
          const announced = hosts([one.address, level]).map((host) =>
            shadow ? { ...host, shadow: true as const } : host,
          );
          speaker.apply({ withdrawn: [], announced });
          said[one.name].set(one.address, { level, shadow });
        } else if (one.do === 'withdraw') {
          speaker.apply({ withdrawn: [one.address], announced: [] });
          said[one.name].delete(one.address);
        } else if (one.do === 'drain') {
          speaker.setGracefulShutdown(one.on);
          if (one.on) drained.add(one.name);
          else drained.delete(one.name);
        } else if (one.do === 'block') {
          if (gateway.speaker.establishedWith(SWITCH[one.name])) connectionTo(one.name).blocked = true;
        } else if (one.do === 'unblock') connectionTo(one.name).unblock();
        else if (one.do === 'fail') gateway.speaker.neighborFailed(SWITCH[one.name], 'by chance');
        else if (one.do === 'refresh') speaker.requestRefresh(all.gatewayOf(one.name));
        else clock.advance(7);
      }
      for (const connection of network.connections) if (connection.blocked) connection.unblock();
      clock.advance(60_000);
      const best = (of: readonly Name[], host: Address): Name | undefined =>
        of
          .filter((one) => said[one].has(host))
          .sort((x, y) => rank(x, host) - rank(y, host) || NAMES.indexOf(x) - NAMES.indexOf(y))[0];
      const rank = (one: Name, host: Address): number => {
        const { level, shadow } = said[one].get(host)!;
        const path = shadow ? 5 : drained.has(one) ? 3 : 1;
        return path * 10 + (2 - level);
      };
      const origin = (path: string): Name => NAMES[Number(path.split(' ').at(-1)) - 65_001]!;
      for (const one of NAMES) {
        const has = new Map(
          all[one].speaker
            .routes()
            .filter(({ table }) => table === 'in')
            .map(({ prefix, asPath }) => [prefix.split('/')[0], origin(asPath)]),
        );
        const told = gateway.speaker
          .routes()
          .filter(({ table, neighbor }) => table === 'out' && neighbor === SWITCH[one]);
        t.is(told.length, has.size);
        for (const host of ADDRESSES) {
          const expected = best(
            NAMES.filter((other) => other !== one),
            host,
          );
          // Of equals any will do for the switch, but for the one that G itself prefers.
          const got = has.get(host);
          t.is(got === undefined, expected === undefined);
          if (got && expected) t.is(rank(got, host), rank(expected, host));
          if (got) passed++;
        }
      }
      for (const host of ADDRESSES) {
        const selected = gateway.routes.findLast(({ prefix }) => prefix === `${host}/32`);
        const first = best(NAMES, host);
        t.is((selected?.nextHops.length ?? 0) > 0, first !== undefined);
        if (!selected || !first) continue;
        const used = NAMES.filter((one) => selected.nextHops.some(({ via }) => via === SWITCH[one]));
        t.deepEqual(
          used,
          NAMES.filter((one) => said[one].has(host) && rank(one, host) === rank(first, host)),
          'all that are equal, and no shadow beside what is real',
        );
        const second = best(
          NAMES.filter((one) => !used.includes(one)),
          host,
        );
        t.is(selected.backup !== undefined, second !== undefined);
        if (second) t.true(selected.backup!.some(({ via }) => via === SWITCH[second]));
      }
    }),
    { numRuns: 300 },
  );
  t.true(passed > 500, 'there was something to compare');
});
