/** Who gets which address: another plugin's decision, or a directory of our own with one file an address. */
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  type Address,
  ipv4FromNumber,
  ipv4ToNumber,
  type Prefix,
  parseAddress,
  prefixAddress,
  prefixContains,
  prefixLength,
} from '../model/address.ts';
import { CniError, CODE } from './errors.ts';
import { type ContainerRoute, type Dns, readDns, readRoutes } from './pass-on.ts';
import type { Attachment, Ipam, NetworkConfiguration } from './request.ts';

/** What goes with the address is passed on. */
export interface Allocation {
  readonly address: Address;
  readonly routes: readonly ContainerRoute[];
  readonly dns?: Dns;
}

export interface Allocator {
  /** `taken`: addresses nobody may get (the gateway's, services'). */
  allocate(taken: ReadonlySet<Address>): Promise<Allocation>;
  /** Undoes one `allocate`. What another ADD of the same attachment has got stays its own, as far as who hands out can tell. */
  giveBack(address: Address): Promise<void>;
  /** Nothing to release is no error. */
  release(): Promise<void>;
  /** @throws CniError when the address is not this attachment's any more */
  check(address: Address): Promise<void>;
}

export function allocatorFor(attachment: Attachment, configuration: NetworkConfiguration): Allocator {
  const { ipam } = configuration;
  return ipam.kind === 'own'
    ? new OwnAllocator(join(ipam.directory, configuration.network), ipam, attachment)
    : new DelegatedAllocator(ipam.type, attachment, configuration);
}

/** A file an address, made exclusively: whoever made it has the address, however many ask at once. */
class OwnAllocator implements Allocator {
  readonly #directory: string;
  readonly #ranges: readonly Prefix[];
  readonly #routes: readonly ContainerRoute[];
  readonly #owner: string;
  readonly #wanted: Address | undefined;

  constructor(
    directory: string,
    { ranges, routes }: Extract<Ipam, { kind: 'own' }>,
    { containerId, ifname, wanted }: Attachment,
  ) {
    this.#directory = directory;
    this.#ranges = ranges;
    this.#routes = routes;
    this.#owner = `${containerId} ${ifname}\n`;
    this.#wanted = wanted.address;
  }

  async allocate(taken: ReadonlySet<Address>): Promise<Allocation> {
    return { address: this.#choose(taken), routes: this.#routes };
  }

  #choose(taken: ReadonlySet<Address>): Address {
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
    if (this.#wanted) {
      if (!this.#ranges.some((range) => prefixContains(range, this.#wanted!)) || taken.has(this.#wanted)) {
        throw new CniError(CODE.invalidEnvironment, `${this.#wanted} can't be handed out`, this.#ranges.join(', '));
      }
      if (this.#take(this.#wanted)) return this.#wanted;
      throw new CniError(CODE.noAddressLeft, `${this.#wanted} belongs to another container`);
    }
    const used = new Set(readdirSync(this.#directory));
    for (const range of this.#ranges) {
      for (const address of hostAddresses(range)) {
        if (!used.has(address) && !taken.has(address) && this.#take(address)) return address;
      }
    }
    throw new CniError(CODE.noAddressLeft, `no address is left in ${this.#ranges.join(', ')}`);
  }

  async giveBack(address: Address): Promise<void> {
    rmSync(join(this.#directory, address), { force: true });
  }

  async release(): Promise<void> {
    if (!existsSync(this.#directory)) return;
    for (const address of readdirSync(this.#directory)) {
      if (this.#ownerOf(address) === this.#owner) rmSync(join(this.#directory, address), { force: true });
    }
  }

  async check(address: Address): Promise<void> {
    if (this.#ownerOf(address) !== this.#owner) {
      throw new CniError(CODE.changed, `${address} is not this container's any more`);
    }
  }

  #ownerOf(address: string): string | undefined {
    try {
      return readFileSync(join(this.#directory, address), 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
  }

  #take(address: Address): boolean {
    try {
      writeFileSync(join(this.#directory, address), this.#owner, { flag: 'wx', mode: 0o600 });
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
      throw error;
    }
  }
}

/** Without the network's own and the broadcast address. */
export function* hostAddresses(range: Prefix): Generator<Address> {
  const length = prefixLength(range);
  const first = ipv4ToNumber(prefixAddress(range));
  const count = 2 ** (32 - length);
  const edge = length < 31 ? 1 : 0;
  for (let offset = edge; offset < count - edge; offset++) yield ipv4FromNumber((first + offset) >>> 0);
}

/** CNI specification 1.0.0, "Plugin Delegation": the same environment and configuration, only CNI_COMMAND is ours to set. */
class DelegatedAllocator implements Allocator {
  readonly #plugin: string;
  readonly #configuration: string;

  constructor(type: string, { pluginPath }: Attachment, { text }: NetworkConfiguration) {
    const found = pluginPath.map((folder) => join(folder, type)).find((path) => existsSync(path));
    if (!found) {
      throw new CniError(
        CODE.invalidConfiguration,
        `the plugin ${type} (ipam.type) is not there`,
        `looked in ${pluginPath.join(', ') || 'no folder: CNI_PATH is empty'}`,
      );
    }
    this.#plugin = found;
    this.#configuration = text;
  }

  async allocate(taken: ReadonlySet<Address>): Promise<Allocation> {
    const result = JSON.parse(await this.#call('ADD')) as {
      ips?: { address?: string }[];
      routes?: unknown;
      dns?: unknown;
    };
    const address = parseAddress(result.ips?.[0]?.address?.split('/')[0] ?? '');
    if (!address) throw new CniError(CODE.decode, `${this.#plugin} gave no address`, JSON.stringify(result));
    if (!taken.has(address)) return this.#withAll(address, result);
    await this.release();
    throw new CniError(CODE.invalidConfiguration, `${this.#plugin} gave ${address}, which is the network's own`);
  }

  async #withAll(address: Address, result: { routes?: unknown; dns?: unknown }): Promise<Allocation> {
    const dns = readDns(result.dns);
    try {
      return { address, routes: readRoutes(result.routes, CODE.decode), ...(dns ? { dns } : {}) };
    } catch (error) {
      await this.release();
      throw error;
    }
  }

  giveBack(): Promise<void> {
    return this.release();
  }

  async release(): Promise<void> {
    await this.#call('DEL');
  }

  async check(): Promise<void> {
    await this.#call('CHECK');
  }

  #call(command: 'ADD' | 'DEL' | 'CHECK'): Promise<string> {
    return new Promise((resolve, reject) => {
      const environment = { ...process.env, CNI_COMMAND: command };
      const child = execFile(this.#plugin, { env: environment, timeout: 30_000 }, (error, stdout, stderr) => {
        if (error) reject(pluginFailure(this.#plugin, stdout, stderr, error));
        else resolve(stdout);
      });
      child.stdin?.on('error', () => undefined); // A plugin that does not read its input says so by its exit code.
      child.stdin?.end(this.#configuration);
    });
  }
}

function pluginFailure(plugin: string, stdout: string, stderr: string, error: Error): CniError {
  try {
    const { code, msg, details } = JSON.parse(stdout) as { code: number; msg: string; details?: string };
    return new CniError(code, `${plugin}: ${msg}`, details);
  } catch {
    return new CniError(CODE.io, `${plugin} failed: ${error.message}`, stderr.trim());
  }
}
