/** Levels of claims in metrics, and back. */
import test from 'ava';
import { encodeLsa, RouterLinkType } from 'node-ospf-lsa';
import { parsePrefix } from '../../src/model/address.ts';
import type { ForeignClaim } from '../../src/model/hosts.ts';
import { type ClaimSink, Claims } from '../../src/ospf/machine/claims.ts';
import { allFull, host, ip, twoSwitches } from './simulation.ts';

const sink = (claim: (claim: ForeignClaim) => void): ClaimSink => ({ claim, shadow: () => {}, route: () => {} });

test('a stronger claim has the better metric, and 1 is the least', (t) => {
  const { world, g, a, b } = twoSwitches({ announce: { as: 'external', metric: 2, metricType: 1 } });
  a.announce(host('10.10.10.1'), host('10.10.10.2', 1), host('10.10.10.3', 2));
  world.until('Full everywhere', () => allFull(g, a, b));
  world.run(2000);
  const metrics = [1, 2, 3].map((n) => g.routes.get(`10.10.10.${n}/32`)!.metric);
  t.deepEqual(metrics, [12, 11, 11]);
});

test('foreign claims: level from the metric, the best of several LSAs, gone with the last', (t) => {
  const claims = new Claims({ as: 'external', metric: 20, metricType: 2 }, [parsePrefix('10.10.10.0/24')!]);
  const seen: ForeignClaim[] = [];
  const report = sink((claim) => seen.push(claim));
  const external = (id: string, metric: number, metricType: 1 | 2 = 2, mask = 0xffffffff) =>
    encodeLsa(
      { age: 1, options: 2, type: 5, linkStateId: ip(id), advertisingRouter: ip('10.255.0.2'), sequence: 1 },
      { kind: 'external', mask, metricType, metric, forwardingAddress: 0, tag: 0, tos: [] },
    );
  const change = (before?: ReturnType<typeof external>, after?: ReturnType<typeof external>) => {
    claims.lsaChanged('key', before, after, report);
    return seen.splice(0).map(({ level }) => level);
  };
  t.deepEqual(change(undefined, external('10.10.10.1', 20)), [0]);
  t.deepEqual(change(external('10.10.10.1', 20), external('10.10.10.1', 19)), [1]);
  t.deepEqual(change(external('10.10.10.1', 19), external('10.10.10.1', 5)), [2]);
  t.deepEqual(change(external('10.10.10.1', 5), external('10.10.10.1', 25)), [0]);
  t.deepEqual(change(external('10.10.10.1', 25), external('10.10.10.1', 18, 1)), []);
  t.deepEqual(change(external('10.10.10.1', 18, 1), undefined), [undefined]);
  t.deepEqual(change(undefined, external('10.10.11.1', 20)), []);
  t.deepEqual(change(undefined, external('10.10.10.0', 20, 2, 0xffffff00)), []);
  const stub = (id: string, metric: number) => ({
    linkId: ip(id),
    linkData: 0xffffffff,
    type: RouterLinkType.Stub,
    metric,
    tos: [],
  });
  const router = encodeLsa(
    { age: 1, options: 2, type: 1, linkStateId: 2, advertisingRouter: ip('10.255.0.2'), sequence: 1 },
    { kind: 'router', flags: 0, links: [stub('10.10.10.1', 20), stub('10.10.10.2', 20)] },
  );
  claims.lsaChanged('r', undefined, router, report);
  t.is(seen.splice(0).length, 2);
  t.deepEqual(change(undefined, external('10.10.10.1', 18)), [2]);
  claims.lsaChanged('r', router, undefined, report);
  t.deepEqual(
    seen.splice(0).map(({ address: each, level }) => [each as string, level]),
    [['10.10.10.2', undefined]],
  );
  claims.reachability(new Set(), new Map(), report);
  t.deepEqual(
    seen.splice(0).map(({ level }) => level),
    [undefined],
  );
  const bare = encodeLsa(
    { age: 1, options: 2, type: 1, linkStateId: 2, advertisingRouter: ip('10.255.0.2'), sequence: 2 },
    { kind: 'router', flags: 0, links: [] },
  );
  claims.lsaChanged('r', undefined, bare, report);
  t.is(seen.length, 0, 'an LSA without hosts says nothing about reachability');
  claims.reachability(new Set([ip('10.255.0.2')]), new Map(), report);
  t.deepEqual(
    seen.splice(0).map(({ level }) => level),
    [2],
  );
});

test('a router out of reach that claims something new has all its claims back', (t) => {
  const claims = new Claims({ as: 'external', metric: 20, metricType: 2 }, [parsePrefix('10.10.10.0/24')!]);
  const seen: string[] = [];
  const report = sink(({ address: each, level }) => seen.push(`${each} ${level}`));
  const claim = (id: string) =>
    encodeLsa(
      { age: 1, options: 2, type: 5, linkStateId: ip(id), advertisingRouter: ip('10.255.0.2'), sequence: 1 },
      { kind: 'external', mask: 0xffffffff, metricType: 2, metric: 20, forwardingAddress: 0, tag: 0, tos: [] },
    );
  claims.lsaChanged('1', undefined, claim('10.10.10.1'), report);
  claims.reachability(new Set(), new Map(), report);
  t.deepEqual(seen.splice(0), ['10.10.10.1 0', '10.10.10.1 undefined']);
  claims.lsaChanged('2', undefined, claim('10.10.10.2'), report);
  t.deepEqual(seen.splice(0).sort(), ['10.10.10.1 0', '10.10.10.2 0']);
});
