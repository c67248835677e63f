/**
 * `peerless-cni`: the CNI plugin (specification 1.0.0). It makes the veth pair and tells the agent; bridging, policy and
 * tunnels are the agent's.
 */
import { text } from 'node:stream/consumers';
import { errorText } from './errors.ts';
import { add, check, remove } from './plugin.ts';
import { parseRequest, SUPPORTED_VERSIONS, versionOf } from './request.ts';

async function main(): Promise<void> {
  const input = process.stdin.isTTY ? '' : await text(process.stdin);
  try {
    const request = parseRequest(process.env, input);
    if (request.command === 'VERSION') {
      print({ cniVersion: request.cniVersion, supportedVersions: SUPPORTED_VERSIONS });
    } else if (request.command === 'ADD') {
      print(await add(request.attachment, request.configuration));
    } else if (request.command === 'CHECK') {
      await check(request.attachment, request.configuration);
    } else {
      await remove(request.attachment, request.configuration);
    }
  } catch (error) {
    process.stdout.write(`${errorText(error, versionOf(input))}\n`);
    process.exitCode = 1;
  }
}

function print(value: object): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

await main();
