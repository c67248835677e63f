import { EventEmitter } from 'node:events';
import test from 'ava';
import { type Heard, Signals } from '../../src/agent/signals.ts';

function stand() {
  const process = new EventEmitter();
  const acted: Heard[] = [];
  const givenUp: Heard[] = [];
  const signals = new Signals(process, (signal) => givenUp.push(signal));
  return { process, acted, givenUp, start: () => signals.start((signal) => acted.push(signal)) };
}

test('signals that come while the agent starts are carried out when it has, a restart before an end', (t) => {
  const { process, acted, givenUp, start } = stand();
  for (const signal of ['SIGHUP', 'SIGTERM', 'SIGHUP', 'SIGUSR2']) process.emit(signal);
  t.deepEqual(acted, []);
  start();
  t.deepEqual(acted, ['SIGUSR2', 'SIGTERM', 'SIGHUP']);
  process.emit('SIGINT');
  process.emit('SIGHUP');
  t.deepEqual(acted.splice(3), ['SIGINT', 'SIGHUP']);
  t.deepEqual(givenUp, []);
});

test('who asks for the end twice gets it from an agent that is still starting', (t) => {
  const { process, acted, givenUp } = stand();
  process.emit('SIGTERM');
  t.deepEqual(givenUp, []);
  process.emit('SIGTERM');
  t.deepEqual(givenUp, ['SIGTERM']);
  t.deepEqual(acted, []);
});
