import { readFileSync } from 'node:fs';
import test from 'ava';
import { BpfObject } from 'linux-sockets';
import { objectPath } from '../../../src/vswitch-bridge/fastpath/loader/objects.ts';
import * as layout from '../../../src/vswitch-bridge/fastpath/maps/layout.ts';
import { MAP_NAMES } from '../../../src/vswitch-bridge/fastpath/maps/tables.ts';

for (const program of layout.PROGRAMS) {
  test(`R3.5 the structures of ${program} are those that the agent reads and writes`, (t) => {
    using object = BpfObject.open(objectPath(program));
    let compared = 0;
    for (const struct of layout.STRUCTURES) {
      const there = object.btf.structs.get(struct.name);
      if (!there) continue;
      compared += 1;
      t.is(there.size, struct.size, struct.name);
      t.deepEqual(
        there.fields.map(({ name, offset, size }) => `${name} at ${offset}, ${size} bytes`),
        Object.entries(struct.fields).map(([name, field]) => {
          return `${name} at ${(struct.offsets as Record<string, number>)[name]}, ${field.size} bytes`;
        }),
        struct.name,
      );
    }
    t.true(compared > 8);
    t.deepEqual(object.programNames(), [program]);
    for (const { name } of object.shapes()) {
      t.true(name.includes('.') || (MAP_NAMES as readonly string[]).includes(name), `map ${name}`);
    }
  });
}

test('counters have the names, in the order, of the programs', (t) => {
  const header = readFileSync(new URL('../../../src/vswitch-bridge/fastpath/bpf/layout.h', import.meta.url), 'utf8');
  const body = /enum statistic \{([^}]*)\}/.exec(header)![1]!.replaceAll(/\/\*[^*]*\*\//g, '');
  const names = [...body.matchAll(/[A-Z_]+/g)].map(([name]) => name).filter((name) => name !== 'STAT_COUNT');
  const ours = [
    ...layout.STATISTICS.map((name) => `STAT_${name.replaceAll(/[A-Z]/g, (letter) => `_${letter}`)}`),
    ...layout.SLOW_REASONS.map((name) => `SLOW_${name}`),
    ...layout.REWRITE_STATISTICS.map((name) => `REWRITE_${name === 'unknown-key' ? 'unknown' : name}`),
  ];
  t.deepEqual(
    ours.map((name) => name.toUpperCase().replaceAll('-', '_')),
    names,
  );
});

test('what numbers stand for is the same on both sides', (t) => {
  using object = BpfObject.open(objectPath('nic_ingress'));
  const shapes = new Map(object.shapes().map((shape) => [shape.name, shape]));
  t.is(shapes.get('peers')?.maxEntries, layout.PEERS);
  t.is(shapes.get('port_generation')?.maxEntries, layout.PORTS);
  t.is(shapes.get('rule_masks')?.maxEntries, layout.RULE_SETS * layout.RULE_MASKS);
  t.is(shapes.get('rates')?.maxEntries, layout.RATES);
  t.is(shapes.get('rule_counts')?.maxEntries, layout.RULE_IDS);
  t.is(shapes.get('restored')?.maxEntries, layout.PEERS * layout.KEYS_A_PEER);
  t.is(
    shapes.get('statistics')?.valueSize,
    8 * (layout.STATISTICS.length + layout.SLOW_REASONS.length + layout.REWRITE_STATISTICS.length),
  );
  t.is(shapes.get('rules')?.keySize, layout.ruleKey.size);
  t.is(shapes.get('rules')?.valueSize, layout.rule.size);
});
