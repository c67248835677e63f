import { mkdtempSync } from 'node:fs';
import { chmod, mkdir, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import { systemClock } from '../../../src/model/clock.ts';
import { fingerprintOf } from '../../../src/vswitch-bridge/encryption/codec/derivation.ts';
import { KeyController } from '../../../src/vswitch-bridge/encryption/keys/controller.ts';
import { DirectorySource, KeyDirectory } from '../../../src/vswitch-bridge/encryption/keys/directory.ts';
import { formatKey, parseKey } from '../../../src/vswitch-bridge/encryption/keys/format.ts';
import { KeyRing } from '../../../src/vswitch-bridge/encryption/keys/ring.ts';
import { octets } from './hosts.ts';

function folder(t: { teardown(run: () => Promise<void>): void }): string {
  const path = mkdtempSync(join(tmpdir(), 'peerless-keys-'));
  t.teardown(() => rm(path, { recursive: true }));
  return path;
}

const until = async (true_: () => boolean): Promise<void> => {
  const end = performance.now() + 30_000;
  while (!true_()) {
    if (performance.now() > end) throw new Error('waited in vain');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
};

test('R0.1 the last received is the newest, not the highest; a number of another round takes the place of the earlier', (t) => {
  const ring = new KeyRing(3);
  const issue = (version: number, issued: number, round = 0) => ({ version, issued, key: octets(version, round) });
  t.true(ring.replace([issue(3, 10), issue(1, 11), issue(2, 5)]));
  t.deepEqual(
    ring.ids.map(({ version }) => version),
    [1, 3, 2],
  );
  t.false(ring.replace([issue(2, 5), issue(3, 10), issue(1, 11)]), 'the same in another order');
  const v1 = ring.held[0]!;
  const v2 = ring.held[2]!;
  t.true(ring.replace([issue(3, 10), issue(1, 11), issue(2, 12, 1), issue(4, 1)]));
  t.deepEqual(ring.ids, [
    { version: 2, fingerprint: fingerprintOf(octets(2, 1)) },
    { version: 1, fingerprint: fingerprintOf(octets(1)) },
    { version: 3, fingerprint: fingerprintOf(octets(3)) },
  ]);
  t.is(ring.held[1], v1);
  t.true(v2.key.every((octet) => octet === 0) && v2.control.every((octet) => octet === 0), 'dropped keys are zeroed');
  const { key, control } = v1;
  ring.clear();
  t.true([...key, ...control].every((octet) => octet === 0));
  t.throws(() => ring.replace([{ version: 1, issued: 1, key: new Uint8Array(31) }]), { instanceOf: RangeError });
});

test('R0.1 whatever is issued in whatever order, the ring has the newest, each number once', (t) => {
  const issued = fc.uniqueArray(
    fc.record({ version: fc.integer({ min: 1, max: 6 }), issued: fc.integer({ min: 1, max: 1000 }) }),
    { selector: (one) => one.issued, maxLength: 12 },
  );
  fc.assert(
    fc.property(issued, fc.integer({ min: 1, max: 5 }), (keys, versions) => {
      const ring = new KeyRing(versions);
      ring.replace(keys.map((one) => ({ ...one, key: octets(one.version, one.issued) })));
      const newest = new Map<number, number>();
      for (const one of keys) newest.set(one.version, Math.max(one.issued, newest.get(one.version) ?? 0));
      const wanted = [...newest].sort((a, b) => b[1] - a[1]).slice(0, versions);
      t.deepEqual(
        ring.held.map(({ id, issued: at }) => [id.version, at]),
        wanted,
      );
    }),
  );
});

test('a key at rest comes back; anything else is refused with a reason and never an exception', (t) => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 255 }),
      fc.nat(2 ** 47),
      fc.uint8Array({ minLength: 32, maxLength: 32 }),
      fc.nat(),
      fc.integer({ min: 1, max: 255 }),
      (version, issued, key, where, change) => {
        const bytes = formatKey({ version, issued, key });
        t.deepEqual(parseKey(bytes), { version, issued, key });
        const changed = Uint8Array.from(bytes);
        changed[where % bytes.length]! ^= change;
        const parsed = parseKey(changed);
        t.true(
          'error' in parsed ||
            parsed.version !== version ||
            parsed.issued !== issued ||
            Buffer.compare(parsed.key, key) !== 0,
        );
        t.true('error' in parseKey(bytes.subarray(0, where % (bytes.length - 1))));
      },
    ),
  );
  const text = (lines: string) => parseKey(Buffer.from(lines));
  t.deepEqual(text(''), { error: 'no key of ours' });
  t.deepEqual(text(`peerless key 1\nversion 256\nissued 1\nkey ${'0'.repeat(64)}`), { error: 'version out of range' });
  t.deepEqual(text(`peerless key 1\nversion 2\nissued 1\nkey ${'g'.repeat(64)}`), {
    error: 'a key has 64 hexadecimal digits',
  });
});

test('the controller: numbers in a cycle, the oldest go, a clock that was set back changes no order', async (t) => {
  const path = folder(t);
  let now = 1_000_000;
  const controller = new KeyController(new KeyDirectory(path), () => now);
  const made: number[] = [];
  for (let round = 0; round < 7; round++) {
    now += round === 4 ? -900_000 : 1000;
    made.push((await controller.rotate(5, 3)).version);
  }
  t.deepEqual(made, [1, 2, 3, 4, 5, 1, 2]);
  const { keys } = await controller.list();
  t.deepEqual(
    keys.map(({ version, newest }) => [version, newest]),
    [
      [2, true],
      [1, false],
      [5, false],
    ],
  );
  t.deepEqual((await readdir(path)).sort(), ['1.key', '2.key', '5.key']);
  t.true(await controller.revoke(1));
  t.false(await controller.revoke(1));
  await t.throwsAsync(controller.rotate(3, 4), { instanceOf: RangeError });
  const { mode } = await stat(join(path, '2.key'));
  t.is(mode & 0o777, 0o600);
  const secret = (await readFile(join(path, '2.key'), 'latin1')).split('key ')[2]!.trim();
  t.is(secret.length, 64);
  t.false(JSON.stringify(await controller.list()).includes(secret.slice(0, 16)));
});

test('a directory is followed: new, renewed and removed keys, and what may not be read by others is refused', async (t) => {
  const path = folder(t);
  const directory = new KeyDirectory(path);
  const source = new DirectorySource(path, systemClock);
  t.teardown(async () => source.stop());
  const ring = new KeyRing(5);
  let problems: readonly { readonly where: string; readonly message: string }[] = [];
  source.start({
    listing: (listing) => {
      ring.replace(listing.keys);
      problems = listing.problems;
    },
    trouble: (reason) => t.is(reason, undefined),
  });
  const versions = () => ring.ids.map(({ version }) => version).join();
  await directory.write({ version: 1, issued: 1, key: octets(1) });
  await until(() => versions() === '1');
  await directory.write({ version: 2, issued: 2, key: octets(2) });
  await until(() => versions() === '2,1');
  await directory.write({ version: 1, issued: 3, key: octets(1, 1) });
  await until(() => versions() === '1,2');
  t.is(ring.ids[0]!.fingerprint, fingerprintOf(octets(1, 1)));
  await directory.remove(2);
  await until(() => versions() === '1');
  await directory.write({ version: 4, issued: 4, key: octets(4) });
  await chmod(join(path, '4.key'), 0o640);
  await writeFile(join(path, '5.key'), 'nothing', { mode: 0o600 });
  await symlink(join(path, '1.key'), join(path, '6.key'));
  await writeFile(join(path, '7.key'), formatKey({ version: 8, issued: 5, key: octets(8) }), { mode: 0o600 });
  await mkdir(join(path, '9.key'));
  await writeFile(join(path, 'README'), 'not a key');
  await until(() => problems.length === 5);
  t.is(versions(), '1');
  t.deepEqual(
    new Map(problems.map(({ where, message }) => [where.slice(path.length + 1), message])),
    new Map([
      ['4.key', 'is open to others (mode 0640)'],
      ['5.key', 'no key of ours'],
      ['6.key', "can't be read (ELOOP)"],
      ['7.key', 'says that it is version 8'],
      ['9.key', 'is not a plain file'],
    ]),
  );
});

test('a directory that is missing or open is trouble, and keys come once it is right', async (t) => {
  const path = join(folder(t), 'later');
  const troubles: (string | undefined)[] = [];
  let listings = 0;
  // The look now and then comes at once here.
  const hasty = {
    now: systemClock.now,
    schedule: (_: number, run: () => void) => systemClock.schedule(systemClock.now() + 20, run),
  };
  const source = new DirectorySource(path, hasty);
  t.teardown(async () => source.stop());
  source.start({
    listing: ({ keys }) => {
      listings = keys.length;
    },
    trouble: (reason) => void troubles.push(reason),
  });
  await until(() => troubles.some((reason) => reason?.includes('ENOENT')));
  const directory = new KeyDirectory(path);
  await directory.create();
  t.is((await stat(path)).mode & 0o777, 0o700);
  await directory.write({ version: 1, issued: 1, key: octets(1) });
  await until(() => listings === 1);
  await chmod(path, 0o777);
  await until(() => troubles.at(-1)?.includes('is open to others (mode 0777)') === true);
  t.is(listings, 1, 'what was read stays');
});
