import type { Loaded } from '../config/index.ts';
import type { Log } from '../model/log.ts';
import type { CountersView, ReloadResult } from './api.ts';
import type { ControlServer } from './control/server.ts';

export type Gauges = Readonly<Record<string, number>>;

/** What the process around a role needs of it; the role has started when there is one. */
export interface Role {
  readonly loaded: Loaded;
  /** Milliseconds since the start. */
  readonly uptime: number;
  /** Hangs what the role answers on the control socket. */
  serve(server: ControlServer): void;
  counters(): CountersView;
  /** By name, for the metrics, beside the counters. */
  gauges(): Gauges | Promise<Gauges>;
  /** What a SIGHUP does: a bad file changes nothing, and the error says why. */
  reload(): Promise<ReloadResult>;
  /** Withdraws what was announced and takes its own out of the kernel. */
  stop(): Promise<void>;
  /** Ends for the next process to go on: nothing is withdrawn. The process must end when this resolves. */
  pause(): Promise<void>;
  /** Everybody has heard that it is ready. */
  ready?(): void;
}

export interface RoleOptions<C extends Loaded['config']> {
  readonly loaded: Loaded & { readonly config: C };
  readonly log: Log;
  /** Start with the downlinks shut until the fabric is ready. */
  readonly holdAtBoot: boolean;
}
