/** What the plugin asks of the agent, over its control socket. */
import { AgentClient } from '../cli/client.ts';
import { CommandFailure, EXIT } from '../cli/errors.ts';
import type { Address, Mac, Prefix } from '../model/address.ts';
import { CniError, CODE } from './errors.ts';

export interface AgentNetwork {
  readonly name: string;
  readonly subnet: Prefix;
  readonly gateway?: Address;
  /** Of an instance's interface. */
  readonly mtu: number;
}

export interface NewInstance {
  readonly name: string;
  readonly network: string;
  readonly address: Address;
  readonly mac: Mac;
  readonly interface: string;
}

export class Agent {
  readonly #client: AgentClient;

  constructor(socket: string) {
    this.#client = new AgentClient(socket);
  }

  /** The network, and the addresses in it that are nobody's to have. @throws CniError */
  async network(name: string): Promise<{ readonly network: AgentNetwork; readonly taken: ReadonlySet<Address> }> {
    const networks = await asked(() => this.#client.get<{ networks: AgentNetwork[] }>('/v1/host/networks'));
    const network = networks.networks.find((one) => one.name === name);
    if (!network) {
      const known = networks.networks.map((one) => one.name).join(', ');
      throw new CniError(
        CODE.invalidConfiguration,
        `the agent knows no network ${name}`,
        `it knows: ${known || 'none'}`,
      );
    }
    const services = await asked(() =>
      this.#client.get<{ services: { network: string; address: Address }[] }>('/v1/host/services'),
    );
    const instances = await asked(() =>
      this.#client.get<{ instances: { network: string; address: Address }[] }>('/v1/host/instances'),
    );
    const others = [...services.services, ...instances.instances].filter((one) => one.network === name);
    return {
      network,
      taken: new Set([...(network.gateway ? [network.gateway] : []), ...others.map(({ address }) => address)]),
    };
  }

  async add(instance: NewInstance): Promise<void> {
    await asked(() => this.#client.send('POST', '/v1/host/instances', undefined, { ...instance, origin: 'cni' }));
  }

  /** Not there is no error. */
  async removeOn(hostInterface: string): Promise<void> {
    const name = await this.instanceOn(hostInterface);
    if (name !== undefined) {
      await asked(() => this.#client.send('DELETE', `/v1/host/instances/${encodeURIComponent(name)}`));
    }
  }

  /** The name of the instance on this interface: whichever version of the plugin has chosen it. */
  async instanceOn(hostInterface: string): Promise<string | undefined> {
    const { instances } = await asked(() =>
      this.#client.get<{ instances: { name: string; interface: string }[] }>('/v1/host/instances'),
    );
    return instances.find((instance) => instance.interface === hostInterface)?.name;
  }
}

async function asked<T>(ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    if (!(error instanceof CommandFailure)) throw error;
    const code = error.exitCode === EXIT.unreachable ? CODE.agentUnreachable : CODE.agentRefused;
    throw new CniError(code, error.message, error.remedy);
  }
}
