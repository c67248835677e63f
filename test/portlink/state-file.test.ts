import { appendFileSync, mkdtempSync, rmSync } from 'node:fs';
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
