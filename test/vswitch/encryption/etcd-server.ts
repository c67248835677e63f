/** A real etcd, Debian's, on ports of its own; with TLS where it gets certificates. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type EtcdAccess, EtcdClient, EtcdError } from '../../../src/vswitch-bridge/encryption/keys/etcd-client.ts';

export const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address ? address.port : 0));
    });
  });

export const until = async (what: string, holds: () => boolean | Promise<boolean>): Promise<void> => {
  const end = performance.now() + 60_000;
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`waited in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
};

export interface ServerCertificate {
  readonly cert: string;
  readonly key: string;
  /** Who signs the clients' certificates; without it none is asked for. */
  readonly clientCa?: string;
}

export class Etcd {
  readonly url: string;
  readonly #data: string;
  readonly #peerUrl: string;
  readonly #certificate: ServerCertificate | undefined;
  readonly #access: EtcdAccess;
  #process: ChildProcess | undefined;

  private constructor(port: number, peerPort: number, certificate?: ServerCertificate, access: EtcdAccess = {}) {
    this.#certificate = certificate;
    this.#access = access;
    this.url = `${certificate ? 'https' : 'http'}://127.0.0.1:${port}`;
    this.#peerUrl = `http://127.0.0.1:${peerPort}`;
    this.#data = mkdtempSync(join(tmpdir(), 'peerless-etcd-'));
  }

  /** @param access of who asks whether it answers */
  static async start(certificate?: ServerCertificate, access?: EtcdAccess): Promise<Etcd> {
    const etcd = new Etcd(await freePort(), await freePort(), certificate, access);
    await etcd.run();
    return etcd;
  }

  async run(): Promise<void> {
    const child = spawn(
      'etcd',
      [
        ...['--name', 'one', '--data-dir', this.#data, '--logger', 'zap', '--log-level', 'error'],
        ...['--listen-client-urls', this.url, '--advertise-client-urls', this.url],
        ...['--listen-peer-urls', this.#peerUrl, '--initial-advertise-peer-urls', this.#peerUrl],
        ...['--initial-cluster', `one=${this.#peerUrl}`],
        ...(this.#certificate ? ['--cert-file', this.#certificate.cert, '--key-file', this.#certificate.key] : []),
        ...(this.#certificate?.clientCa === undefined
          ? []
          : ['--client-cert-auth', '--trusted-ca-file', this.#certificate.clientCa]),
      ],
      { stdio: 'ignore' },
    );
    this.#process = child;
    await until('etcd answers', async () => {
      if (child.exitCode !== null) throw new Error(`etcd has ended with ${child.exitCode}`);
      return new EtcdClient(this.url, this.#access).range('/').then(
        () => true,
        // It refuses: so it is there.
        (error: unknown) => error instanceof EtcdError && error.status !== undefined,
      );
    });
  }

  async kill(): Promise<void> {
    const child = this.#process;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await ended;
  }

  async remove(): Promise<void> {
    await this.kill();
    await rm(this.#data, { recursive: true });
  }
}
