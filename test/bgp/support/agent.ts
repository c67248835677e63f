/** A switch with a real agent, servers behind it, and a gateway before it; each in a namespace of its own. */
import type { ChildProcess } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { SessionView } from '../../../src/bgp/index.ts';
import { Lab, sh, until } from './lab.ts';

/** `hostRoutes` and `bgp` of the file; what a test says of them is laid over these. */
export interface Overrides {
  readonly bgp?: object;
  readonly sources?: object;
  readonly prefixes?: readonly string[];
}

export class Rack {
  readonly lab = new Lab();
  readonly g: string;
  readonly a: string;
  readonly servers: readonly string[];
  readonly file: string;
  readonly #socket: string;
  #agent: ChildProcess | undefined;

  /** G 192.0.2.1 -- 192.0.2.2 A0, br0 10.10.10.254/24 with A1.. -- servers 10.10.10.1.. */
  constructor(servers: number) {
    const { lab } = this;
    this.g = lab.namespace('g');
    this.a = lab.namespace('a');
    lab.join(this.g, 'gA', ['192.0.2.1/24'], this.a, 'A0', ['192.0.2.2/24']);
    sh('ip', '-n', this.g, 'addr', 'add', '203.0.113.1/32', 'dev', 'lo');
    sh('ip', 'netns', 'exec', this.a, 'sysctl', '-qw', 'net.ipv4.ip_forward=1');
    sh('ip', '-n', this.a, 'link', 'add', 'br0', 'type', 'bridge');
    sh('ip', '-n', this.a, 'addr', 'add', '10.10.10.254/24', 'dev', 'br0');
    sh('ip', '-n', this.a, 'link', 'set', 'br0', 'up');
    this.servers = Array.from({ length: servers }, (_, index) => {
      const server = lab.namespace(`s${index + 1}`);
      lab.join(this.a, `A${index + 1}`, [], server, 'eth0', [`10.10.10.${index + 1}/24`]);
      sh('ip', '-n', this.a, 'link', 'set', `A${index + 1}`, 'master', 'br0');
      sh('ip', '-n', server, 'route', 'add', 'default', 'via', '10.10.10.254');
      return server;
    });
    this.file = join(lab.directory, 'peerless.json');
    this.#socket = join(lab.directory, 'control.sock');
    this.configure({});
  }

  /** JSON is YAML. */
  configure({ bgp = {}, sources = {}, prefixes = ['10.10.10.0/24'] }: Overrides): void {
    const neighbor = { address: '192.0.2.1', remoteAs: 65000, timers: { keepalive: '1s', hold: '3s' } };
    const config = {
      role: 'tor',
      routerId: '10.255.0.1',
      hostRoutes: {
        prefixes,
        ports: this.servers.map((_, index) => `A${index + 1}`),
        sources,
        returning: { mode: 'never' },
      },
      bgp: { asn: 65001, neighbors: [neighbor], ...bgp },
      control: { socket: this.#socket, metrics: null },
      stateDirectory: join(this.lab.directory, 'state'),
    };
    writeFileSync(this.file, JSON.stringify(config));
  }

  start(): void {
    const main = fileURLToPath(new URL('./agent-main.ts', import.meta.url));
    const stdio = ['ignore', 'ignore', process.env.SHOW_AGENT ? 'inherit' : 'ignore'];
    this.#agent = this.lab.spawn(this.a, process.execPath, ['--conditions=source', main, this.file], { stdio });
  }

  /** Resolves when the agent is gone; SIGHUP is not waited for. */
  async signal(name: NodeJS.Signals): Promise<void> {
    const agent = this.#agent!;
    const gone = new Promise((resolve) => agent.once('exit', resolve));
    agent.kill(name);
    if (name !== 'SIGHUP') await gone;
  }

  /** A process that hangs, and goes on. */
  freeze(on: boolean): void {
    this.#agent!.kill(on ? 'SIGSTOP' : 'SIGCONT');
  }

  ask<T>(path: string): Promise<T> {
    return new Promise((resolve, reject) => {
      const outgoing = request({ socketPath: this.#socket, path, timeout: 5000 }, (response) => {
        let body = '';
        response.setEncoding('utf8').on('data', (text: string) => {
          body += text;
        });
        response.on('end', () =>
          response.statusCode === 200 ? resolve(JSON.parse(body) as T) : reject(new Error(body)),
        );
      });
      outgoing.on('error', reject);
      outgoing.end();
    });
  }

  async sessions(): Promise<SessionView[]> {
    return await this.ask<SessionView[]>('/v1/bgp/neighbors').catch(() => []);
  }

  established(): Promise<SessionView> {
    return until(
      async () => (await this.sessions()).find((session) => session.state === 'Established'),
      'an Established session',
    );
  }

  /** /32s of the servers' prefix in the kernel of G. */
  fib(prefix = '10.10.'): string[] {
    return sh('ip', '-n', this.g, 'route')
      .split('\n')
      .filter((line) => line.startsWith(prefix) && line.includes('via 192.0.2.2'))
      .map((line) => line.split(' ')[0]!)
      .sort();
  }

  /** Says something from every server, so that the switch hears it. */
  speak(): void {
    for (const server of this.servers) {
      try {
        sh('ip', 'netns', 'exec', server, 'ping', '-c1', '-W2', '10.10.10.254');
      } catch {
        // The agent may answer to nobody yet; ARP was heard.
      }
    }
  }

  /** Every change of a route under `prefix` in G until `stop`. */
  watch(prefix = '10.10.'): { stop(): string[] } {
    const child = this.lab.spawn(this.g, 'ip', ['monitor', 'route'], { stdio: ['ignore', 'pipe', 'ignore'] });
    let text = '';
    child.stdout!.setEncoding('utf8').on('data', (more: string) => {
      text += more;
    });
    return {
      stop: () => {
        child.kill();
        return text.split('\n').filter((line) => line.includes(prefix));
      },
    };
  }

  /** Pings every millisecond from a far address of G, over the switch's default route back. */
  probe(target: string, seconds: number): Promise<{ sent: number; lost: number }> {
    const count = seconds * 1000;
    const args = ['-q', '-i', '0.001', '-c', `${count}`, '-W', '1', '-I', '203.0.113.1', target];
    const child = this.lab.spawn(this.g, 'ping', args, { stdio: ['ignore', 'pipe', 'inherit'] });
    let text = '';
    child.stdout!.setEncoding('utf8').on('data', (more: string) => {
      text += more;
    });
    return new Promise((resolve, reject) =>
      child.once('close', () => {
        const found = /(\d+) packets transmitted, (\d+) received/.exec(text);
        if (found) resolve({ sent: Number(found[1]), lost: Number(found[1]) - Number(found[2]) });
        else reject(new Error(text));
      }),
    );
  }
}
