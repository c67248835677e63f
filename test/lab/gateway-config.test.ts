import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';
import { gatewayBird } from '../../lab/gateway/bird.ts';
import { gatewayFrr, torFrr } from '../../lab/gateway/frr.ts';
import { TOR_NAMES } from '../../lab/topology/plan.ts';

const execute = promisify(execFile);
const DUAL = { families: [4, 6], multipath: true, bfd: true } as const;
const PROTOCOLS = ['ospf', 'bgp', 'both'] as const;

/** Rejects when the program doesn't like the text. */
async function check(text: string, command: (file: string) => string[]): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'lab-config-'));
  try {
    const file = join(directory, 'conf');
    await writeFile(file, text);
    const [program, ...rest] = command(file);
    await execute(program!, rest);
  } finally {
    await rm(directory, { recursive: true });
  }
}

const bird = (text: string) => check(text, (file) => ['bird', '-p', '-c', file]);
const frr = (text: string) => check(text, (file) => ['vtysh', '-C', '-f', file]);

for (const protocol of PROTOCOLS) {
  test(`BIRD accepts G's configuration (${protocol})`, async (t) => {
    await t.notThrowsAsync(bird(gatewayBird(protocol)));
    await t.notThrowsAsync(bird(gatewayBird(protocol, DUAL)));
  });

  test(`FRR accepts G's and the ToRs' configuration (${protocol})`, async (t) => {
    const all = [gatewayFrr(protocol, 'fast'), gatewayFrr(protocol, 'default'), gatewayFrr(protocol, 'fast', DUAL)];
    for (const tor of TOR_NAMES) all.push(torFrr(tor, protocol));
    for (const configuration of all) {
      t.deepEqual('ospfd' in configuration, protocol !== 'bgp');
      t.deepEqual('bgpd' in configuration, protocol !== 'ospf');
      for (const text of Object.values(configuration)) await t.notThrowsAsync(frr(text));
    }
  });
}

test('the checks themselves refuse nonsense', async (t) => {
  await t.throwsAsync(bird(`${gatewayBird('bgp')}\nnonsense;\n`));
  await t.throwsAsync(frr(`${gatewayFrr('ospf', 'fast').ospfd}router ospf\n nonsense\n`));
});

test('the /24 itself is never redistributed: only /32s inside it pass the ToR', (t) => {
  for (const daemon of ['ospfd', 'bgpd'] as const) {
    t.regex(torFrr('A', 'both')[daemon]!, /prefix-list hosts seq 5 permit 10\.10\.10\.0\/24 ge 32/);
    t.regex(torFrr('A', 'both')[daemon]!, /redistribute kernel .*route-map hosts/);
  }
});
