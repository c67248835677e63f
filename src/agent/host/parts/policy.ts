import { join } from 'node:path';
import type { Address } from '../../../model/address.ts';
import { PolicyProjection } from '../../../vswitch-bridge/slowpath/policy/index.ts';
import type { BackendView } from '../../host-api.ts';
import { encryptsOf } from '../encrypts.ts';
import { everything } from '../everything.ts';
import type { OpenHostPart } from '../part.ts';

/** The slow path's rules, services and sources. */
export const openPolicy: OpenHostPart = async ({ config, clock, log, state, relearn }) => {
  const policy = await PolicyProjection.open({
    clock,
    log,
    stateFile: join(config.stateDirectory, 'policy.json'),
    espPort: encryptsOf(config.encryption) === undefined ? undefined : config.encryption.port,
    onDeparture: relearn,
  });
  await policy.apply(state(), everything(state()));
  return {
    apply: (state, changes) => policy.apply(state, changes),
    counters: () => policy.counters(),
    warnings: () => policy.warnings(),
    backends: () =>
      new Map(
        [...policy.backends()].map(([service, backends]) => [
          service,
          backends.map((backend): BackendView => ({ ...backend, address: backend.address as Address })),
        ]),
      ),
    ruleCounters: () => policy.ruleCounters(),
    refresh: () => policy.refresh(),
    stats: () => policy.counters(),
    close: (options) => policy.close(options),
  };
};
