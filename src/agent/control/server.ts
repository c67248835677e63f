import { chmodSync, chownSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createConnection } from 'node:net';
import { dirname } from 'node:path';
import type { ErrorBody } from '../api.ts';
import { InPortions, writeList } from './list-answer.ts';

/** Settings of one group fit many times over; anything larger is not a request of ours. */
const MAX_BODY = 256 * 1024;

/** An answer that is not 2xx: what went wrong and what the operator can do about it. */
export class ControlError extends Error {
  readonly status: number;
  readonly remedy: string | undefined;

  constructor(status: number, message: string, remedy?: string) {
    super(message);
    this.status = status;
    this.remedy = remedy;
  }
}

export interface ControlRequest {
  /** Path segments that matched `:name` of the pattern, decoded. */
  readonly parameters: Readonly<Record<string, string>>;
  readonly query: URLSearchParams;
  readonly body: unknown;
}

/** Lines until the client or the agent goes; `write` answers false once the client is gone. */
export interface LineStream {
  write(value: unknown): void;
  onClose(listener: () => void): void;
}

/** What is to be answered; a list is written in portions. */
export type Handler = (request: ControlRequest) => unknown;
export type StreamHandler = (request: ControlRequest, stream: LineStream) => void;

interface Route {
  readonly method: string;
  readonly segments: readonly string[];
  readonly handler: Handler;
}

/** @throws Error when an agent answers on `path`: two agents would fight over ports, routes and sessions. */
export async function refuseSecond(path: string): Promise<void> {
  if (!(await answers(path))) return;
  throw new Error(`another agent answers on ${path}: stop it, or give this one a control.socket of its own`);
}

/** The control socket: HTTP/JSON over a Unix socket that only root and the group `peerless` may open. */
export class ControlServer {
  readonly #routes: Route[] = [];
  readonly #streams: { readonly path: string; readonly flag: string; readonly handler: StreamHandler }[] = [];
  readonly #server: Server;
  #path: string | undefined;

  constructor() {
    this.#server = createServer((request, response) => {
      this.#serve(request, response).catch((error: unknown) => answerError(response, error));
    });
  }

  on(method: 'GET' | 'PUT' | 'PATCH' | 'DELETE' | 'POST', pattern: string, handler: Handler): void {
    this.#routes.push({ method, segments: pattern.split('/'), handler });
  }

  /** A GET that goes on as NDJSON when the query has `flag=1`. */
  onStream(path: string, flag: string, handler: StreamHandler): void {
    this.#streams.push({ path, flag, handler });
  }

  async listen(path: string): Promise<void> {
    await refuseSecond(path);
    mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
    rmSync(path, { force: true });
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(path, () => {
        this.#server.off('error', reject);
        resolve();
      });
    });
    this.#path = path;
    const group = groupId('peerless');
    if (group !== undefined) chownSync(path, process.getuid?.() ?? 0, group);
    chmodSync(path, 0o660);
  }

  async close(): Promise<void> {
    if (this.#path === undefined) return;
    this.#path = undefined;
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://agent');
    const stream = this.#streams.find(
      (entry) => entry.path === url.pathname && url.searchParams.get(entry.flag) === '1',
    );
    if (stream && request.method === 'GET') {
      response.writeHead(200, { 'content-type': 'application/x-ndjson' });
      response.flushHeaders();
      stream.handler({ parameters: {}, query: url.searchParams, body: undefined }, lines(response));
      return;
    }
    const segments = url.pathname.split('/');
    const matching = this.#routes.flatMap((route) => {
      const parameters = match(route.segments, segments);
      return parameters ? [{ route, parameters }] : [];
    });
    if (matching.length === 0) throw new ControlError(404, `no such path: ${url.pathname}`);
    const found = matching.find(({ route }) => route.method === request.method);
    if (!found) throw new ControlError(405, `${request.method} is not for ${url.pathname}`);
    const body = await readBody(request);
    const answer = await found.route.handler({ parameters: found.parameters, query: url.searchParams, body });
    const list = answer instanceof InPortions ? answer.items : Array.isArray(answer) ? answer : undefined;
    if (list) return writeList(response, list);
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(`${JSON.stringify(answer)}\n`);
  }
}

function match(pattern: readonly string[], segments: readonly string[]): Record<string, string> | undefined {
  if (pattern.length !== segments.length) return undefined;
  const parameters: Record<string, string> = {};
  for (const [index, part] of pattern.entries()) {
    const segment = segments[index]!;
    if (part.startsWith(':')) parameters[part.slice(1)] = decodeURIComponent(segment);
    else if (part !== segment) return undefined;
  }
  return parameters;
}

async function readBody(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > MAX_BODY) throw new ControlError(413, `a request body holds at most ${MAX_BODY} bytes`);
    chunks.push(chunk);
  }
  if (length === 0) return undefined;
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8'));
  } catch (error) {
    throw new ControlError(400, `the body is not JSON: ${(error as Error).message}`);
  }
}

function lines(response: ServerResponse): LineStream {
  const keepAlive = setInterval(() => response.write('\n'), 15_000);
  keepAlive.unref();
  response.once('close', () => clearInterval(keepAlive));
  return {
    write(value) {
      // A follower that doesn't read is cut off rather than kept in memory.
      if (response.writableLength > 4 * 1024 * 1024) response.destroy();
      else response.write(`${JSON.stringify(value)}\n`);
    },
    onClose: (listener) => response.once('close', listener),
  };
}

function answerError(response: ServerResponse, error: unknown): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const status = error instanceof ControlError ? error.status : error instanceof URIError ? 400 : 500;
  const message = error instanceof Error ? error.message : String(error);
  const remedy = error instanceof ControlError ? error.remedy : undefined;
  const body: ErrorBody = { error: remedy === undefined ? { message } : { message, remedy } };
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(`${JSON.stringify(body)}\n`);
}

/** Somebody listens there. */
export function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createConnection(path);
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', () => resolve(false));
  });
}

function groupId(name: string): number | undefined {
  const line = readFileSync('/etc/group', 'utf8')
    .split('\n')
    .find((entry) => entry.startsWith(`${name}:`));
  return line === undefined ? undefined : Number(line.split(':')[2]);
}
