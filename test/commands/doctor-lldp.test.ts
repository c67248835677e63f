/** Whether the agent may ask lldpd: as the unit runs it, root without root's privilege over files. */
import { spawn } from 'node:child_process';
import { chmodSync, chownSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import test from 'ava';
import { lldpAccess } from '../../src/cli/doctor-lldp.ts';

const [SOCKET_GROUP, CLIENT_GROUP] = [64_101, 64_102];

test.serial('the groups that the agent has decide, and the remedy is the drop-in that is shipped', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'doctor-lldp-'));
  const { PATH } = process.env;
  process.env.PATH = `${folder}${delimiter}${PATH}`;
  t.teardown(() => {
    process.env.PATH = PATH;
    rmSync(folder, { recursive: true });
  });
  // As Debian has them.
  const [socket, client] = [join(folder, 'lldpd.socket'), join(folder, 'lldpcli')];
  for (const [file, group, mode] of [
    [socket, SOCKET_GROUP, 0o660],
    [client, CLIENT_GROUP, 0o750],
  ] as const) {
    writeFileSync(file, '');
    chownSync(file, SOCKET_GROUP, group);
    chmodSync(file, mode);
  }
  const agent = async (...groups: string[]): Promise<number> => {
    const words = ['--bounding-set=-dac_override', '--inh-caps=-all', ...groups, 'sh', '-c', 'echo up; exec sleep 60'];
    const child = spawn('setpriv', words, { stdio: ['ignore', 'pipe', 'inherit'] });
    t.teardown(() => child.kill('SIGKILL'));
    await new Promise((resolve) => child.stdout.once('data', resolve));
    return child.pid!;
  };
  const none = lldpAccess(await agent('--clear-groups'), socket);
  t.like(none[0], { check: 'lldp', verdict: 'warning' });
  t.true(none[0]!.message.includes(socket) && none[0]!.message.includes(client), none[0]!.message);
  t.regex(none[0]!.remedy ?? '', /packaging\/peerless-lldp\.conf/);
  const half = lldpAccess(await agent('--groups', String(SOCKET_GROUP)), socket);
  t.is(half[0]?.verdict, 'warning');
  t.false(half[0]!.message.includes(socket));
  t.is(lldpAccess(await agent('--groups', `${SOCKET_GROUP},${CLIENT_GROUP}`), socket)[0]?.verdict, 'fine');
  t.is(lldpAccess(process.pid, socket)[0]?.verdict, 'fine', 'root with all its privileges');
  t.deepEqual(lldpAccess(process.pid, join(folder, 'none')), [], 'no lldpd');

  const dropIn = readFileSync(new URL('../../packaging/peerless-lldp.conf', import.meta.url), 'utf8');
  t.regex(dropIn, /^\[Service\]\n(#.*\n)*SupplementaryGroups=_lldpd adm$/m);
});
