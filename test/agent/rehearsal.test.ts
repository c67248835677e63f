import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { rehearse, rehearseGateway } from '../../src/agent/rehearsal/index.ts';
import { type Loaded, loadConfig, type TorConfig } from '../../src/config/index.ts';
import type { Log } from '../../src/model/log.ts';

const PROTOCOLS = {
  ospf: 'ospf: {interfaces: [{name: A0, area: 0.0.0.0, network: point-to-point, hello: 1s, dead: 4s}]}\n',
  bgp: 'bgp: {asn: 65001, neighbors: [{address: 192.0.2.1, remoteAs: 65000}]}\n',
};

const folder = mkdtempSync(join(tmpdir(), 'rehearsal-'));
test.after.always(() => rmSync(folder, { recursive: true, force: true }));

function load(name: string, protocols: string): Loaded & { readonly config: TorConfig } {
  const file = join(folder, `${name}.yaml`);
  writeFileSync(
    file,
    `role: tor
routerId: 10.255.0.1
hostRoutes: {prefixes: [10.10.0.0/16], ports: [A1, A2]}
portLink: [{name: fabric, uplinks: [A0], downlinks: [A1, A2]}]
stateDirectory: ${join(folder, name)}
${protocols}`,
  );
  const loaded = loadConfig(file);
  if (!loaded.ok || loaded.config.role !== 'tor') throw new Error(JSON.stringify(loaded));
  return loaded as Loaded & { readonly config: TorConfig };
}

function listeningLog(): { log: Log; said: string[] } {
  const said: string[] = [];
  const say = (_: object, message: string) => said.push(message);
  return { log: { debug: () => {}, info: say, warn: say, error: say }, said };
}

for (const [name, text] of Object.entries(PROTOCOLS)) {
  test.serial(`a rehearsal with ${name} takes hosts to the gateway and back, and leaves no trace`, async (t) => {
    const { log, said } = listeningLog();
    const handles = process.getActiveResourcesInfo().filter((kind) => kind !== 'Immediate').length;
    const report = await rehearse(load(name, text), log, new AbortController().signal);
    t.deepEqual(said, []);
    t.true(report!.announced > 5_000, `${report!.announced}`);
    t.is(report!.withdrawn, report!.announced);
    t.is(process.getActiveResourcesInfo().filter((kind) => kind !== 'Immediate').length, handles);
    t.false(readdirSync(folder).includes(name), 'no state directory was made');
  });
}

const TWO = {
  ospf: 'ospf: {interfaces: [{name: GA, area: 0.0.0.0, network: point-to-point, hello: 1s, dead: 4s, bfd: true}, {name: GB, area: 0.0.0.0}]}\n',
  bgp: 'bgp: {asn: 65000, neighbors: [{address: 192.0.2.2, remoteAs: 65001, bfd: true}, {address: 192.0.2.6, remoteAs: 65002}]}\n',
};

for (const [name, text] of Object.entries(TWO)) {
  test.serial(`R4.3 R4.7 a gateway rehearses the loss of a switch with ${name}, and leaves no trace`, async (t) => {
    const file = join(folder, `gateway-${name}.yaml`);
    writeFileSync(
      file,
      `role: gateway
routerId: 10.255.0.254
mode: router
stateDirectory: ${join(folder, `gateway-${name}`)}
map: {file: ${join(folder, `${name}-map.json`)}}
${text}`,
    );
    const loaded = loadConfig(file);
    if (!loaded.ok || loaded.config.role !== 'gateway') throw new Error(JSON.stringify(loaded));
    const { log, said } = listeningLog();
    const handles = process.getActiveResourcesInfo().filter((kind) => kind !== 'Immediate').length;
    const report = await rehearseGateway({ ...loaded, config: loaded.config }, log, new AbortController().signal);
    t.deepEqual(said, []);
    t.true(report!.announced > 5_000, `${report!.announced}`);
    t.true(report!.withdrawn > 0);
    t.log(report);
    t.is(process.getActiveResourcesInfo().filter((kind) => kind !== 'Immediate').length, handles);
    t.deepEqual(
      readdirSync(folder).filter((each) => each.startsWith(`gateway-${name}`) || each.endsWith('map.json')),
      [`gateway-${name}.yaml`],
    );
  });
}

test.serial('a rehearsal ends early when the agent leaves', async (t) => {
  const { log } = listeningLog();
  const leaving = new AbortController();
  const rehearsal = rehearse(load('early', PROTOCOLS.bgp), log, leaving.signal);
  leaving.abort();
  t.true((await rehearsal)!.slices < 100);
});
