import { existsSync, readdirSync } from 'node:fs';
import { type IncomingMessage, request } from 'node:http';
import type { ErrorBody } from '../agent/api.ts';
import { NETNS_SOCKETS, SOCKET } from '../config/places.ts';
import { CommandFailure, EXIT } from './errors.ts';

/** The agent answers from memory; one that takes longer than this is stuck. */
const PATIENCE_MS = 10_000;

export type Query = Readonly<Record<string, string | number | boolean | undefined>>;

/** HTTP over the agent's Unix socket. Every failure is a CommandFailure with its exit code and remedy. */
export class AgentClient {
  readonly socket: string;

  constructor(socket: string) {
    this.socket = socket;
  }

  get<T>(path: string, query?: Query): Promise<T> {
    return this.#ask<T>('GET', path, query);
  }

  send<T>(method: 'POST' | 'PUT' | 'PATCH' | 'DELETE', path: string, query?: Query, body?: unknown): Promise<T> {
    return this.#ask<T>(method, path, query, body);
  }

  /** The values of an NDJSON stream until the agent closes it or `signal` is aborted. */
  async *follow<T>(path: string, query: Query, signal?: AbortSignal): AsyncGenerator<T> {
    const response = await this.#open('GET', path, { ...query, follow: true }, undefined, signal);
    try {
      if (response.statusCode !== 200) throw await failureOf(response);
      let rest = '';
      for await (const chunk of response.setEncoding('utf8') as AsyncIterable<string>) {
        const lines = (rest + chunk).split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) if (line !== '') yield JSON.parse(line) as T;
      }
    } catch (error) {
      if (signal?.aborted) return;
      throw error instanceof CommandFailure ? error : this.#unreachable(error as NodeJS.ErrnoException);
    } finally {
      response.destroy();
    }
  }

  async #ask<T>(method: string, path: string, query?: Query, body?: unknown): Promise<T> {
    const response = await this.#open(method, path, query, body);
    if (response.statusCode === undefined || response.statusCode >= 300) throw await failureOf(response);
    const text = await textOf(response).catch((error) => {
      throw this.#unreachable(error as NodeJS.ErrnoException);
    });
    try {
      return JSON.parse(text) as T;
    } catch {
      throw new CommandFailure(
        EXIT.unreachable,
        `what answers on ${this.socket} is not a Peerless agent`,
        'Name the right socket with --socket or PEERLESS_SOCKET.',
      );
    }
  }

  #open(
    method: string,
    path: string,
    query: Query = {},
    body?: unknown,
    signal?: AbortSignal,
  ): Promise<IncomingMessage> {
    const text = body === undefined ? undefined : JSON.stringify(body);
    const headers: Record<string, string | number> = { host: 'agent', accept: 'application/json' };
    if (text !== undefined) {
      headers['content-type'] = 'application/json';
      headers['content-length'] = Buffer.byteLength(text);
    }
    return new Promise((resolve, reject) => {
      const outgoing = request({
        socketPath: this.socket,
        path: path + queryText(query),
        method,
        headers,
        timeout: PATIENCE_MS,
        ...(signal ? { signal } : {}),
      });
      outgoing.once('response', (response) => {
        // From here on silence is the stream's right.
        if (query.follow) outgoing.setTimeout(0);
        resolve(response);
      });
      outgoing.once('timeout', () => outgoing.destroy(Object.assign(new Error('no answer'), { code: 'ETIMEDOUT' })));
      outgoing.once('error', (error: NodeJS.ErrnoException) => reject(this.#unreachable(error)));
      outgoing.end(text);
    });
  }

  #unreachable(error: NodeJS.ErrnoException): CommandFailure {
    const { message, remedy } = explainConnection(this.socket, error);
    return new CommandFailure(EXIT.unreachable, message, remedy);
  }
}

/** Sockets of other network namespaces, for who asks in the wrong one. */
function elsewhere(socket: string): string {
  const there = [SOCKET, ...namespaceSockets()].filter((path) => path !== socket && existsSync(path));
  return there.length === 0 ? '' : ` There ${there.length === 1 ? 'is' : 'are'} ${there.slice(0, 8).join(', ')}.`;
}

function namespaceSockets(): string[] {
  try {
    const agents = readdirSync(NETNS_SOCKETS).filter((name) => name.endsWith('.sock'));
    return agents.map((name) => `${NETNS_SOCKETS}/${name}`);
  } catch {
    return [];
  }
}

/** Why there is no connection to the agent, and what to do. */
function explainConnection(socket: string, error: NodeJS.ErrnoException): { message: string; remedy: string } {
  const other = 'or name its socket with --socket or PEERLESS_SOCKET.';
  switch (error.code) {
    case 'ENOENT':
      return {
        message: `the agent can't be reached: there is no socket ${socket}`,
        remedy: `Start it (systemctl start peerless, or peerless agent --config FILE), ${other}${elsewhere(socket)}`,
      };
    case 'ECONNREFUSED':
      return {
        message: `the agent can't be reached: nobody listens on ${socket}`,
        remedy: `The agent has died; look at its log and start it again, ${other}`,
      };
    case 'EACCES':
    case 'EPERM':
      return {
        message: `the agent can't be reached: you may not open ${socket}`,
        remedy: 'Be root, or a member of the group peerless.',
      };
    case 'ETIMEDOUT':
      return {
        message: `the agent at ${socket} does not answer`,
        remedy: 'Look at its log; if it hangs, restart it.',
      };
    default:
      return {
        message: `the agent can't be reached at ${socket}: ${error.message}`,
        remedy: `Check that it runs, ${other}`,
      };
  }
}

async function failureOf(response: IncomingMessage): Promise<CommandFailure> {
  const status = response.statusCode ?? 0;
  const text = await textOf(response);
  let error: ErrorBody['error'] = { message: `the agent answered ${status}` };
  try {
    error = (JSON.parse(text) as ErrorBody).error ?? error;
  } catch {
    // Not ours: the status alone says what there is to say.
  }
  const code = status === 400 || status === 422 ? EXIT.usage : EXIT.no;
  const otherRole =
    status === 404 && error.message.startsWith('no such path')
      ? 'This agent has another role (`peerless status` says which) or another version. --socket names another agent.'
      : undefined;
  return new CommandFailure(code, error.message, error.remedy ?? otherRole);
}

async function textOf(response: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of response.setEncoding('utf8') as AsyncIterable<string>) text += chunk;
  return text;
}

/** Booleans are `1` or absent. */
function queryText(query: Query): string {
  const parameters = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) {
    if (value === undefined || value === false) continue;
    parameters.set(key, value === true ? '1' : String(value));
  }
  const text = parameters.toString();
  return text === '' ? '' : `?${text}`;
}
