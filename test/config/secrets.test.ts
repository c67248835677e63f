import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { formatProblem, parseConfig } from '../../src/config/index.ts';

const BASE = `role: tor
routerId: 10.255.0.1
hostRoutes:
  prefixes: [10.10.10.0/24]
  ports: [A1]
`;

const secretRows: readonly (readonly [string, (file: string) => void, RegExp])[] = [
  ['missing', () => {}, /the secret file .* is missing\. Create it: install -m 600/],
  [
    'readable by others',
    (file) => {
      writeFileSync(file, 'top secret\n');
      chmodSync(file, 0o644);
    },
    /is open to others than its owner \(mode 0644\)\. Close it: chmod 600 /,
  ],
  [
    'readable by the group',
    (file) => {
      writeFileSync(file, 'top secret\n');
      chmodSync(file, 0o640);
    },
    /mode 0640/,
  ],
  ['empty', (file) => writeFileSync(file, '\n', { mode: 0o600 }), /is empty\. Write the secret/],
  [
    'too long for TCP MD5',
    (file) => writeFileSync(file, 'x'.repeat(81), { mode: 0o600 }),
    /has 81 octets\. The protocol takes at most 80/,
  ],
];

for (const [what, make, pattern] of secretRows) {
  test(`a secret file is refused with its remedy and never shown: ${what}`, (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'peerless-config-'));
    t.teardown(() => rmSync(folder, { recursive: true }));
    const file = join(folder, 'bgp.key');
    make(file);
    const result = parseConfig(
      `${BASE}bgp:\n  asn: 65001\n  neighbors:\n    - { address: 192.0.2.5, remoteAs: internal, passwordFile: ${file} }\n`,
      'F',
    );
    if (result.ok) return t.fail('accepted');
    const line = formatProblem(result.problems[0]!);
    t.regex(line, /^F:9:\d+: bgp\.neighbors\[0\]\.passwordFile: /);
    t.regex(line, pattern);
    t.false(line.includes('top secret'));
  });
}

test('an OSPF MD5 secret holds at most 16 octets', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'peerless-config-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'ospf.key');
  writeFileSync(file, 'seventeen octets!\n', { mode: 0o600 });
  const with_ = (type: string) =>
    parseConfig(
      `${BASE}ospf:\n  interfaces:\n    - { name: A0, authentication: { type: ${type}, secretFile: ${file} } }\n`,
      'F',
    );
  t.false(with_('md5').ok);
  t.true(with_('hmac-sha-256').ok);
});
