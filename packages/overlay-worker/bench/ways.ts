/** The ways between two instances that are compared, each in namespaces of its own. */
import { type ChildProcess, spawn } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { existsSync } from 'node:fs';
import { connect } from 'node:net';
import { encrypt, inside, ip, lab, plain, type Teardown, until } from '../test/support.ts';

export interface Way {
  readonly name: string;
  /** Namespaces of the instances. */
  readonly from: string;
  readonly to: string;
  readonly address: string;
  /** What runs in user space for it: `/proc/PID/stat` tells its share of the processors. */
  readonly processes: readonly number[];
}

let made = 0;

async function worker(t: Teardown, encrypted: boolean): Promise<Way> {
  const network = await lab(t, { overrides: { plainForm: 'vxlan' } });
  if (encrypted) encrypt(network);
  else plain(network);
  const { a, b } = network;
  return {
    name: encrypted ? 'worker, encrypted' : 'worker, plain VXLAN',
    from: a.instance,
    to: b.instance,
    address: b.address,
    processes: [a.worker.pid, b.worker.pid],
  };
}

interface Side {
  readonly host: string;
  readonly instance: string;
  readonly underlay: string;
}

/** Hosts and instances, the instances' devices not yet joined to anything. */
function hosts(t: Teardown): [Side, Side] {
  const prefix = `owb${process.pid}-${++made}`;
  const sides = [1, 2].map((number): Side => {
    const side = { host: `${prefix}-h${number}`, instance: `${prefix}-i${number}`, underlay: `192.0.2.${number}` };
    for (const netns of [side.host, side.instance]) {
      ip('netns', 'add', netns);
      t.teardown(() => void ip('netns', 'del', netns));
      ip('-n', netns, 'link', 'set', 'lo', 'up');
    }
    ip('-n', side.host, 'link', 'add', 'v0', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', side.instance);
    ip('-n', side.host, 'link', 'set', 'v0', 'up');
    ip('-n', side.instance, 'link', 'set', 'eth0', 'up');
    return side;
  }) as [Side, Side];
  ip('-n', sides[0].host, 'link', 'add', 'u0', 'type', 'veth', 'peer', 'name', 'u0', 'netns', sides[1].host);
  for (const side of sides) {
    ip('-n', side.host, 'addr', 'add', `${side.underlay}/24`, 'dev', 'u0');
    ip('-n', side.host, 'link', 'set', 'u0', 'up');
  }
  return sides;
}

function kernel(t: Teardown): Way {
  const sides = hosts(t);
  sides.forEach(({ host, instance, underlay }, index) => {
    const on = (...words: string[]) => ip('-n', host, ...words);
    const remote = sides[1 - index]!.underlay;
    on('link', 'add', 'br0', 'type', 'bridge');
    on('link', 'add', 'x0', 'type', 'vxlan', 'id', '100', 'dstport', '4789', 'local', underlay, 'remote', remote);
    on('link', 'set', 'x0', 'master', 'br0', 'up');
    on('link', 'set', 'v0', 'master', 'br0');
    on('link', 'set', 'br0', 'up');
    ip('-n', instance, 'addr', 'add', `10.1.0.${index + 1}/24`, 'dev', 'eth0');
    ip('-n', instance, 'link', 'set', 'eth0', 'mtu', '1450');
  });
  return { name: 'kernel VXLAN', from: sides[0].instance, to: sides[1].instance, address: '10.1.0.2', processes: [] };
}

interface KeyPair {
  readonly secret: string;
  readonly open: string;
}

function keyPair(): KeyPair {
  const { privateKey } = generateKeyPairSync('x25519');
  const { d, x } = privateKey.export({ format: 'jwk' });
  return { secret: Buffer.from(d!, 'base64url').toString('hex'), open: Buffer.from(x!, 'base64url').toString('hex') };
}

/** The configuration protocol of WireGuard's user-space implementations. */
function configure(path: string, text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(path, () => socket.write(text));
    socket.on('error', reject);
    socket.once('data', (answer) => {
      socket.destroy();
      if (answer.includes('errno=0')) resolve();
      else reject(new Error(`wireguard-go refused its configuration: ${answer}`));
    });
  });
}

async function wireguard(t: Teardown): Promise<Way> {
  const sides = hosts(t);
  const keys = [keyPair(), keyPair()];
  const children: ChildProcess[] = [];
  for (const [index, { host, instance }] of sides.entries()) {
    const device = `wg${process.pid % 100_000}n${made}${index}`;
    const child = spawn('ip', ['netns', 'exec', host, 'wireguard-go', '-f', device], {
      stdio: 'ignore',
      env: { ...process.env, WG_I_PREFER_BUGGY_USERSPACE_TO_POLISHED_KMOD: '1', LOG_LEVEL: 'silent' },
    });
    children.push(child);
    t.teardown(() => void child.kill());
    const path = `/var/run/wireguard/${device}.sock`;
    await until('wireguard-go is up', () => existsSync(path));
    const other = 1 - index;
    await configure(
      path,
      `${[
        'set=1',
        `private_key=${keys[index]!.secret}`,
        'listen_port=51820',
        `public_key=${keys[other]!.open}`,
        `endpoint=${sides[other]!.underlay}:51820`,
        `allowed_ip=10.1.${other}.0/24`,
      ].join('\n')}\n\n`,
    );
    ip('-n', host, 'link', 'set', device, 'up');
    ip('-n', host, 'addr', 'add', `10.1.${index}.1/24`, 'dev', 'v0');
    ip('-n', host, 'route', 'add', `10.1.${other}.0/24`, 'dev', device);
    inside(host, 'sysctl', '-qw', 'net.ipv4.ip_forward=1');
    ip('-n', instance, 'addr', 'add', `10.1.${index}.2/24`, 'dev', 'eth0');
    ip('-n', instance, 'link', 'set', 'eth0', 'mtu', '1420');
    ip('-n', instance, 'route', 'add', 'default', 'via', `10.1.${index}.1`);
  }
  return {
    name: 'wireguard-go',
    from: sides[0].instance,
    to: sides[1].instance,
    address: '10.1.1.2',
    processes: children.map(({ pid }) => pid!),
  };
}

export async function allWays(t: Teardown): Promise<Way[]> {
  return [kernel(t), await worker(t, false), await worker(t, true), await wireguard(t)];
}
