/**
 * Real speakers to learn from: F (FRR, backbone) -- B (BIRD, area border) -- G (FRR, area 1), each in a network
 * namespace, and a capture on both of B's links. Everything is made under names of this process and removed by `end`.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

let labs = 0;

export class Lab {
  readonly #prefix = `ospflsa-${process.pid}-${labs++}-`;
  readonly #directory = mkdtempSync(join(tmpdir(), 'ospf-lsa-lab-'));
  readonly #namespaces: string[] = [];
  readonly #children: ChildProcess[] = [];
  readonly #output: string[] = [];

  namespace(name: string): void {
    ip('netns', 'add', this.#prefix + name);
    this.#namespaces.push(name);
    this.ip(name, 'link', 'set', 'lo', 'up');
  }

  /** A veth pair; each end is named `<own><other>`. */
  link(a: string, b: string, subnet: string, suffix = ''): void {
    const [nameA, nameB] = [`${a}${b}${suffix}`, `${b}${a}${suffix}`];
    const peer = ['peer', 'name', nameB, 'netns', this.#prefix + b];
    this.ip(a, 'link', 'add', nameA, 'type', 'veth', ...peer);
    this.ip(a, 'address', 'add', `${subnet}.1/30`, 'dev', nameA);
    this.ip(b, 'address', 'add', `${subnet}.2/30`, 'dev', nameB);
    this.ip(a, 'link', 'set', nameA, 'up');
    this.ip(b, 'link', 'set', nameB, 'up');
  }

  ip(namespace: string, ...args: string[]): void {
    ip('-n', this.#prefix + namespace, ...args);
  }

  /** zebra and ospfd; `config` is ospfd's. */
  frr(namespace: string, config: string): void {
    const directory = join(this.#directory, `frr-${namespace}`);
    mkdirSync(directory);
    // FRR gives up root, and refuses to run as anyone who is not in its own group.
    chmodSync(this.#directory, 0o755);
    const [user, group] = ['-u', '-g'].map((flag) => Number(execFileSync('id', [flag, 'frr'], { encoding: 'utf8' })));
    chownSync(directory, user!, group!);
    for (const daemon of ['zebra', 'ospfd']) {
      const file = join(directory, `${daemon}.conf`);
      writeFileSync(file, daemon === 'ospfd' ? config : '');
      const args = ['-f', file, '-i', join(directory, `${daemon}.pid`)];
      args.push('-z', join(directory, 'zserv.api'), '--vty_socket', directory, '--log', 'stdout');
      this.#run(namespace, `/usr/lib/frr/${daemon}`, args);
    }
  }

  bird(namespace: string, config: string): void {
    const file = join(this.#directory, `bird-${namespace}.conf`);
    writeFileSync(file, config);
    const pid = join(this.#directory, `bird-${namespace}.pid`);
    this.#run(namespace, 'bird', ['-c', file, '-s', this.#birdSocket(namespace), '-P', pid, '-f']);
  }

  birdCommand(namespace: string, ...command: string[]): string {
    return execFileSync('birdc', ['-s', this.#birdSocket(namespace), ...command], { encoding: 'utf8' });
  }

  capture(namespace: string, device: string): () => Uint8Array {
    const file = join(this.#directory, `${device}.pcap`);
    const args = ['-q', '-U', '--immediate-mode', '-Z', 'root', '-s', '0', '-i', device, '-w', file];
    this.#run(namespace, 'tcpdump', [...args, 'ip proto 89']);
    return () => {
      try {
        return readFileSync(file);
      } catch {
        return new Uint8Array();
      }
    };
  }

  /** Waits until `missing` has nothing more to name. */
  async until(missing: () => readonly string[], seconds = 120): Promise<void> {
    const deadline = Date.now() + seconds * 1000;
    for (;;) {
      const left = missing();
      if (left.length === 0) return;
      if (Date.now() > deadline) {
        throw new Error(`still missing after ${seconds} s: ${left.join(', ')}\n${this.#output.join('').slice(-6000)}`);
      }
      await sleep(250);
    }
  }

  async end(): Promise<void> {
    for (const child of this.#children.toReversed()) {
      if (child.exitCode === null && child.signalCode === null) {
        const gone = new Promise((resolve) => child.once('exit', resolve));
        child.kill('SIGKILL');
        await gone;
      }
    }
    for (const name of this.#namespaces) ip('netns', 'delete', this.#prefix + name);
    rmSync(this.#directory, { recursive: true, force: true });
  }

  #birdSocket(namespace: string): string {
    return join(this.#directory, `bird-${namespace}.ctl`);
  }

  #run(namespace: string, program: string, args: string[]): void {
    const child = spawn('ip', ['netns', 'exec', this.#prefix + namespace, program, ...args]);
    this.#children.push(child);
    const keep = (data: Buffer) => {
      this.#output.push(`${namespace} ${program}: ${data}`);
      if (this.#output.length > 200) this.#output.shift();
    };
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    child.once('error', (error) => keep(Buffer.from(`${error}\n`)));
  }
}

function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] });
}
