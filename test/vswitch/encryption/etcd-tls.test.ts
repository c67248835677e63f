/** Keys in a real etcd behind TLS, with certificates of openssl: who is believed, who is let in, and what is said when not. */
import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdtempSync, renameSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { systemClock } from '../../../src/model/clock.ts';
import { KeyController } from '../../../src/vswitch-bridge/encryption/keys/controller.ts';
import { EtcdKeys, EtcdSource } from '../../../src/vswitch-bridge/encryption/keys/etcd.ts';
import {
  type EtcdAccess,
  type EtcdTls,
  post as sendToEtcd,
} from '../../../src/vswitch-bridge/encryption/keys/etcd-access.ts';
import { EtcdClient } from '../../../src/vswitch-bridge/encryption/keys/etcd-client.ts';
import { KeyRing } from '../../../src/vswitch-bridge/encryption/keys/ring.ts';
import { Etcd, until } from './etcd-server.ts';

/** Certificates in a directory of the test. */
class Authority {
  readonly directory: string;
  readonly ca: string;

  constructor(directory: string, name: string) {
    this.directory = directory;
    this.ca = join(directory, `${name}.pem`);
    openssl(
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'],
      ...['-subj', `/CN=${name}`, '-keyout', join(directory, `${name}.key`), '-out', this.ca],
    );
  }

  sign(name: string, subject: string, alternatives: string): { readonly cert: string; readonly key: string } {
    const [cert, key, request] = ['pem', 'key', 'csr'].map((suffix) => join(this.directory, `${name}.${suffix}`));
    openssl(
      ...['req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-subj', subject],
      ...['-keyout', key!, '-out', request!],
    );
    const extensions = join(this.directory, `${name}.cnf`);
    writeFileSync(extensions, `subjectAltName=${alternatives}\nextendedKeyUsage=serverAuth,clientAuth\n`);
    openssl(
      ...['x509', '-req', '-in', request!, '-days', '2', '-CA', this.ca, '-CAkey', this.ca.replace('.pem', '.key')],
      ...['-CAcreateserial', '-extfile', extensions, '-out', cert!],
    );
    chmodSync(key!, 0o600);
    return { cert: cert!, key: key! };
  }
}

const openssl = (...argv: string[]) => execFileSync('openssl', argv, { stdio: 'pipe' });

function place(t: ExecutionContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'peerless-tls-'));
  t.teardown(() => rm(directory, { recursive: true }));
  return directory;
}

test.serial(
  'etcd by TLS: server and client are checked both ways, each refusal says what is wrong, new files count without a restart',
  async (t) => {
    const directory = place(t);
    const ours = new Authority(directory, 'ours');
    const theirs = new Authority(directory, 'theirs');
    const server = ours.sign('server', '/CN=etcd', 'DNS:etcd.example,IP:127.0.0.1');
    const client = ours.sign('client', '/CN=host-1', 'DNS:host-1');
    const stranger = theirs.sign('stranger', '/CN=host-2', 'DNS:host-2');
    const tls: EtcdTls = { ca: ours.ca, ...client };
    const asker = ours.sign('asker', '/CN=asker', 'DNS:asker');
    const etcd = await Etcd.start({ ...server, clientCa: ours.ca }, { tls: { ca: ours.ca, ...asker } });
    t.teardown(() => etcd.remove());
    const asking = (access: EtcdAccess, url = etcd.url) => new EtcdKeys([url], undefined, access).read();
    const refused = async (what: string, access: EtcdAccess, message: RegExp, url?: string) => {
      const error = await t.throwsAsync(asking(access, url), { message }, what);
      t.notRegex(error?.message ?? '', /BEGIN|PRIVATE KEY-/, what);
    };

    t.is((await asking({ tls })).keys.length, 0);
    await refused(
      'a CA that did not sign it',
      { tls: { ...tls, ca: theirs.ca } },
      /not signed by the CA of .*theirs\.pem/,
    );
    await refused('no CA at all', { tls: client }, /signed by nobody whom this host knows.*name the CA/);
    await refused('no certificate of ours', { tls: { ca: ours.ca } }, /wants a certificate of ours: name cert and key/);
    await refused(
      'one of another CA',
      { tls: { ca: ours.ca, ...stranger } },
      /refuses our certificate .*stranger\.pem/,
    );
    await refused(
      'a key of another',
      { tls: { ...tls, key: stranger.key } },
      /stranger\.key is not that of .*client\.pem/,
    );
    await refused(
      'another name',
      { tls: { ...tls, serverName: 'other.example' } },
      /its certificate is for another name: .*etcd\.example/,
    );
    t.is((await asking({ tls: { ...tls, serverName: 'etcd.example' } })).keys.length, 0);
    await refused(
      'no such file',
      { tls: { ...tls, ca: join(directory, 'none') } },
      /the CA: .*none: there is no such file/,
    );
    await refused(
      'a key in its place',
      { tls: { ...tls, ca: client.key } },
      /the CA: .*client\.key has no certificate/,
    );
    await refused('plain HTTP', {}, /speaks? TLS.*write https/, etcd.url.replace('https', 'http'));
    chmodSync(client.key, 0o644);
    await refused('a key for everybody', { tls }, /everybody can read .*client\.key: chmod 600/);
    chmodSync(client.key, 0o600);

    // A follower and a controller, and files that change under them.
    const controller = new KeyController(new EtcdKeys([etcd.url], undefined, { tls }));
    const troubles: (string | undefined)[] = [];
    const ring = new KeyRing(3);
    const source = new EtcdSource([etcd.url], systemClock, undefined, { tls });
    t.teardown(() => source.stop());
    source.start({ listing: ({ keys }) => void ring.replace(keys), trouble: (reason) => void troubles.push(reason) });
    const versions = () => ring.ids.map(({ version }) => version).join();
    await controller.rotate(5, 3);
    await until('followed', () => versions() === '1');

    const replace = (file: string, by: string) => {
      copyFileSync(by, `${file}.new`);
      chmodSync(`${file}.new`, 0o600);
      renameSync(`${file}.new`, file);
    };
    replace(client.cert, stranger.cert);
    replace(client.key, stranger.key);
    await t.throwsAsync(controller.list(), { message: /refuses our certificate/ });
    await etcd.kill();
    await etcd.run();
    await until('the follower meets it too', () => /refuses our certificate/.test(troubles.at(-1) ?? ''));
    t.is(versions(), '1', 'the keys stay');
    const fresh = ours.sign('fresh', '/CN=host-1', 'DNS:host-1');
    replace(client.cert, fresh.cert);
    replace(client.key, fresh.key);
    await controller.rotate(5, 3);
    await until('without a restart of ours', () => versions() === '2,1');
    t.is(troubles.at(-1), undefined);
  },
);

test.serial(
  'etcd with users: name and password by TLS, a token that is not valid any more is asked for anew',
  async (t) => {
    const directory = place(t);
    const ours = new Authority(directory, 'ours');
    const server = ours.sign('server', '/CN=etcd', 'IP:127.0.0.1');
    const tls = { ca: ours.ca };
    const etcd = await Etcd.start(server, { tls });
    t.teardown(() => etcd.remove());
    const post = async (method: string, body: object) => {
      const url = `${etcd.url}/v3/${method}`;
      const { statusCode } = await sendToEtcd(url, JSON.stringify(body), {}, tls, AbortSignal.timeout(20_000));
      t.is(statusCode, 200, method);
    };
    await post('auth/user/add', { name: 'root', password: 'of root' });
    await post('auth/user/grant', { user: 'root', role: 'root' });
    await post('auth/enable', {});
    const passwordFile = join(directory, 'password');
    writeFileSync(passwordFile, 'of root\n', { mode: 0o600 });
    const keys = new EtcdKeys([etcd.url], undefined, { tls, user: { name: 'root', passwordFile } });
    const controller = new KeyController(keys);
    await controller.rotate(5, 3);
    t.is((await controller.list()).keys.length, 1);
    await t.throwsAsync(new EtcdKeys([etcd.url], undefined, { tls }).read(), {
      message: /HTTP 4\d\d|user name is empty/,
    });

    const ring = new KeyRing(3);
    const source = new EtcdSource([etcd.url], systemClock, undefined, { tls, user: { name: 'root', passwordFile } });
    t.teardown(() => source.stop());
    source.start({ listing: ({ keys: listed }) => void ring.replace(listed), trouble: () => undefined });
    await until('followed', () => ring.held.length === 1);
    await controller.rotate(5, 3);
    await until('watched', () => ring.held.length === 2);

    // After a restart etcd knows no token of before.
    const client = new EtcdClient(etcd.url, { tls, user: { name: 'root', passwordFile } });
    t.is((await client.range('/peerless/')).entries.length, 2);
    await etcd.kill();
    await etcd.run();
    t.is((await client.range('/peerless/')).entries.length, 2);

    writeFileSync(passwordFile, 'another\n', { mode: 0o600 });
    const error = await t.throwsAsync(controller.list(), { message: /user root: HTTP 4\d\d .*authentication failed/ });
    t.notRegex(error?.message ?? '', /another/);
  },
);
