import { execFileSync } from 'node:child_process';
import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test from 'ava';
import { StateFile, type StoredPort } from '../../src/portlink/state-file.ts';

const stored = (port: string): StoredPort => ({
  port,
  group: 'fabric',
  side: 'downlink',
  since: 1_700_000_000_000,
  reason: 'uplink lost',
});

function inFolder(run: (file: string) => void): void {
  const folder = mkdtempSync(path.join(tmpdir(), 'state-'));
  try {
    run(path.join(folder, 'ports.json'));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

test('R4.7 a line that was torn by a crash takes no later one with it', (t) => {
  inFolder((file) => {
    new StateFile(file).intend([stored('A1')]);
    appendFileSync(`${file}.intent`, '[{"port":"A2","gro');
    const second = new StateFile(file);
    const found = second.load();
    t.deepEqual(
      found.ports.map(({ port }) => port),
      ['A1'],
    );
    t.is(found.problems.length, 1);
    second.intend([stored('A3')]);
    second.intend([stored('A4')]);
    t.deepEqual(
      new StateFile(file).load().ports.map(({ port }) => port),
      ['A1', 'A3', 'A4'],
    );
  });
});

test.serial(
  'R4.7 a file system that is read-only: what is there is read, and when it is writable again all is written',
  async (t) => {
    const folder = mkdtempSync(path.join(tmpdir(), 'state-ro-'));
    const file = path.join(folder, 'ports.json');
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'none', folder]);
    t.teardown(() => {
      execFileSync('umount', ['-l', folder]);
      rmSync(folder, { recursive: true, force: true });
    });
    const remount = (mode: 'ro' | 'rw') => execFileSync('mount', ['-o', `remount,${mode}`, folder]);
    const before = new StateFile(file);
    await before.save({ ports: [stored('A1')], holds: {} });
    await before.close();
    remount('ro');
    const state = new StateFile(file);
    const found = state.load();
    t.deepEqual(
      found.ports.map(({ port }) => port),
      ['A1'],
    );
    t.regex(found.unwritable ?? '', /EROFS/);
    t.throws(() => state.intend([stored('A2')]), { code: 'EROFS' });
    await t.throwsAsync(state.save({ ports: [stored('A2')], holds: {} }), { code: 'EROFS' });
    remount('rw');
    await state.save({ ports: [stored('A2')], holds: {} });
    state.intend([stored('A3')]);
    await state.close();
    const after = new StateFile(file);
    t.deepEqual(
      after.load().ports.map(({ port }) => port),
      ['A2', 'A3'],
    );
    await after.close();
    writeFileSync(file, '{');
    remount('ro');
    const damaged = new StateFile(file).load();
    t.is(readFileSync(file, 'utf8'), '{');
    t.is(damaged.problems.length, 2, 'damaged, and not to be put aside');
  },
);

test('R4.7 a folder that was taken away is made again', async (t) => {
  const folder = mkdtempSync(path.join(tmpdir(), 'state-gone-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const file = path.join(folder, 'ports.json');
  const state = new StateFile(file);
  state.load();
  rmSync(folder, { recursive: true });
  await t.throwsAsync(state.save({ ports: [stored('A1')], holds: {} }), { code: 'ENOENT' });
  await state.save({ ports: [stored('A1')], holds: {} });
  state.intend([stored('A2')]);
  await state.close();
  t.deepEqual(
    new StateFile(file).load().ports.map(({ port }) => port),
    ['A1', 'A2'],
  );
});
