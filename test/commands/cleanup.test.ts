import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';

const PEERLESS = new URL('../../bin/peerless', import.meta.url).pathname;

for (const [mode, said] of [
  ['router', /ip nexthop flush proto 212; ip nexthop flush proto 213/],
  ['observer', /nothing to undo/],
] as const) {
  test(`cleanup is for switches; of a gateway (${mode}) it says what there is to do`, (t) => {
    const directory = mkdtempSync(join(tmpdir(), 'peerless-'));
    t.teardown(() => rmSync(directory, { recursive: true, force: true }));
    const file = join(directory, 'peerless.yaml');
    writeFileSync(
      file,
      `role: gateway
routerId: 10.255.0.250
mode: ${mode}
kernel: { protocol: 211 }
bgp:
  asn: 65000
  neighbors: [{ address: 192.0.2.2, remoteAs: 65001 }]
`,
    );
    const { status, stderr } = spawnSync(PEERLESS, ['cleanup', '--config', file, '--dry-run'], { encoding: 'utf8' });
    t.is(status, 2);
    t.regex(stderr.replace(/\s+/g, ' '), said);
  });
}
