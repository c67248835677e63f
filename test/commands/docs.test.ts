import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { jsonSchema } from '../../src/config/index.ts';

const root = new URL('../../', import.meta.url).pathname;

interface Schema {
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
  readonly oneOf?: readonly Schema[];
}

/** `portLink` becomes a heading of its own; below it, and below the other headings, keys stand without it. */
function keysOf(schema: Schema, path = ''): string[] {
  if (schema.oneOf) return schema.oneOf.flatMap((role) => keysOf(role));
  if (schema.items?.properties) return keysOf(schema.items, `${path}[]`);
  if (!schema.properties) return [path];
  return Object.entries(schema.properties).flatMap(([key, inner]) => keysOf(inner, path ? `${path}.${key}` : key));
}

/** Whose own keys the page explains in one row, in braces. */
const IN_ONE_ROW =
  /^(hostRoutes\.(sources\.(static|bgp|kernel)|bindings)|ospf\.interfaces\[\]\.authentication|policy\.rules\[\]\.tcpFlags|services\[\]\.healthCheck)/;

test('docs/configuration.md has every key of the configuration', (t) => {
  const page = readFileSync(join(root, 'docs/configuration.md'), 'utf8');
  const keys = new Set(keysOf(jsonSchema() as Schema).map((key) => IN_ONE_ROW.exec(key)?.[0] ?? key));
  t.true(keys.size > 60, `${keys.size}`);
  for (const key of keys) {
    const below = key.replace(/^(hostRoutes|portLink\[\]|ospf|bgp)\./, '');
    t.true(page.includes(`| \`${below}\` `), below);
  }
});

test('docs/cli.md has every command', (t) => {
  const page = readFileSync(join(root, 'docs/cli.md'), 'utf8');
  const files = readdirSync(join(root, 'src/commands'), { recursive: true, encoding: 'utf8' }).filter((file) =>
    file.endsWith('.ts'),
  );
  t.true(files.length > 20);
  for (const file of files) {
    const command = file.replace(/\.ts$/, '').replaceAll('/', ' ');
    t.true(page.includes(`| \`peerless ${command}\``), command);
  }
});
