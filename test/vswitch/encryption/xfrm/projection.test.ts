/** Pictures of a peer and the steps between them, and what is remembered of it on the disk. */
import { mkdtempSync, readdirSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import type { Address } from '../../../../src/model/address.ts';
import type { RememberedPeer } from '../../../../src/vswitch-bridge/encryption/xfrm/entry.ts';
import { XfrmFiles } from '../../../../src/vswitch-bridge/encryption/xfrm/memory.ts';
import {
  type PeerPicture,
  plan,
  project,
  type Step,
} from '../../../../src/vswitch-bridge/encryption/xfrm/projection.ts';

/** A kernel that has one peer; throws where a real one would refuse, or where data would meet a policy without its SA. */
class OnePeer {
  readonly in = new Map<number, string>();
  readonly out = new Map<number, string>();
  policies: { spi: number | undefined } | undefined;

  run(steps: readonly Step[], keys: PeerPicture | undefined): void {
    for (const step of steps) {
      switch (step.op) {
        case 'add-sa': {
          const table = this[step.direction];
          if (table.has(step.spi)) throw new Error(`EEXIST ${step.direction} ${step.spi}`);
          table.set(step.spi, (step.direction === 'in' ? keys!.inbound : keys!.outbound).get(step.spi)!);
          break;
        }
        case 'delete-sa':
          if (!this[step.direction].delete(step.spi)) throw new Error(`ESRCH ${step.direction} ${step.spi}`);
          break;
        case 'outbound-policy':
          this.policies = { spi: step.spi };
          break;
        case 'inbound-policy':
          break;
        case 'delete-policies':
          this.policies = undefined;
          break;
      }
      const spi = this.policies?.spi;
      if (spi !== undefined && !this.out.has(spi)) throw new Error('a policy names an SA that is not there');
    }
  }
}

const spi = fc.integer({ min: 0x80100000, max: 0x80100003 }).map((low) => low + ((low & 3) << 20));
const sas = fc.dictionary(spi.map(String), fc.constantFrom('k1', 'k2'), { maxKeys: 4 });
const asMap = (record: Readonly<Record<string, string>>) =>
  new Map(Object.entries(record).map(([name, key]) => [Number(name), key]));
const wish = fc.option(
  fc.record({ receive: sas, outbound: sas, current: fc.option(spi, { nil: undefined }) }).map((record) => {
    const outbound = asMap(record.outbound);
    const current = record.current !== undefined && outbound.has(record.current) ? record.current : undefined;
    return { receive: asMap(record.receive), outbound, current };
  }),
  { nil: undefined },
);

test('from any picture to any other: what is asked for stands, and no policy ever names an SA that is not there', (t) => {
  fc.assert(
    fc.property(fc.array(wish, { minLength: 1, maxLength: 8 }), (wishes) => {
      const kernel = new OnePeer();
      let before: PeerPicture | undefined;
      for (const next of wishes) {
        const after = next && project(next);
        const { first, later } = plan(before, after);
        // Whatever may come in under a new key can be read before the peer is told of it.
        t.false(later.some((step) => step.op === 'add-sa' && step.direction === 'in'));
        t.false(first.some((step) => step.op === 'outbound-policy' && step.spi !== undefined));
        kernel.run(first, after);
        kernel.run(later, after);
        t.deepEqual([...kernel.in].sort(), [...(after?.inbound ?? [])].sort());
        t.deepEqual([...kernel.out].sort(), [...(after?.outbound ?? [])].sort());
        t.deepEqual(kernel.policies, after && { spi: after.current });
        before = after;
      }
      t.deepEqual(plan(before, before), { first: [], later: [] });
    }),
  );
});

test('an outbound SA lives for as long as its version can be read, or is sent under', (t) => {
  const outbound = new Map([
    [0x80100100, 'one'],
    [0x80200200, 'two'],
    [0x80300300, 'three'],
  ]);
  const picture = project({ receive: new Map([[0x802002ff, 'in']]), outbound, current: 0x80300300 });
  t.deepEqual([...picture.outbound.values()], ['two', 'three']);
});

test('what is remembered of a peer is read as it was written, of this boot alone', (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'peerless-xfrm-'));
  t.teardown(() => rm(directory, { recursive: true }));
  const peer = (address: string): RememberedPeer => ({
    ...{ address: address as Address, mark: 0x7e000003, memo: '0aff', inbound: [0x80100100], outbound: [0x80100200] },
    ...{ current: 0x80100200, spent: ['abc'] },
  });
  const files = new XfrmFiles(join(directory, 'deep'), 'this boot');
  t.deepEqual(files.load(), []);
  const [one, two] = [peer('10.0.0.1'), { ...peer('10.0.0.2'), current: undefined }];
  files.save(one);
  files.save(two);
  t.deepEqual(files.load(), [one, two]);
  t.deepEqual(new XfrmFiles(join(directory, 'deep'), 'another boot').load(), []);
  const mistakes = ['', '[]', 'null', '{"boot":"this boot"}', '{"boot":"this boot","address":"10.0.0.3","mark":"x"}'];
  for (const text of mistakes) {
    writeFileSync(join(directory, 'deep', '10.0.0.3.json'), text);
    t.deepEqual(files.load(), [one, two], text);
  }
  files.keepOnly([two.address]);
  t.deepEqual(readdirSync(join(directory, 'deep')), ['10.0.0.2.json']);
  files.remove(two.address);
  t.deepEqual(files.load(), []);
});
