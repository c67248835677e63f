import { type Command, Parser } from '@oclif/core';
import test from 'ava';
import RemotesAdd from '../../src/commands/host/remotes/add.ts';
import RulesAdd from '../../src/commands/host/rules/add.ts';
import ServicesAdd from '../../src/commands/host/services/add.ts';

test('lists are also called as the file calls them', async (t) => {
  const lists: readonly (readonly [typeof Command, string, string, readonly string[]])[] = [
    [RemotesAdd, 'address', 'addresses', ['10.200.2.0/24', '10.200.3.0/24']],
    [RulesAdd, 'port', 'ports', ['23', '80-90']],
    [RulesAdd, 'source-port', 'source-ports', ['53']],
    [ServicesAdd, 'backend', 'backends', ['10.200.1.2:80', '10.200.1.3:80']],
  ];
  for (const [{ flags }, flag, word, values] of lists) {
    const parsed = await Parser.parse([`--${word}`, values.join(',')], { flags: { [flag]: flags[flag]! } });
    t.deepEqual(parsed.flags[flag], values);
  }
});
