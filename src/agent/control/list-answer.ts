/**
 * Answers that are lists. Ten thousand rows take as many milliseconds as a failover may, so they are made and written in
 * portions, and every other event of the loop has its turn between two of them. Each row is as of the moment in which it
 * is written.
 */
import type { ServerResponse } from 'node:http';

/** In a list: what could be done in one turn is done. */
export const REST = Symbol('rest');

/** A list that is made while it is written: rows, REST, and undefined for what turned out to be no row. */
export class InPortions {
  readonly items: Iterable<unknown>;

  constructor(items: Iterable<unknown>) {
    this.items = items;
  }
}

/** Items of one turn. */
export const PORTION = 64;
/** Who does not read for so long (ms) is left. */
const PATIENCE = 30_000;

/** Resolves when all is written, or nobody reads any more. */
export async function writeList(response: ServerResponse, items: Iterable<unknown>): Promise<void> {
  response.writeHead(200, { 'content-type': 'application/json' });
  response.setTimeout(PATIENCE, () => response.destroy());
  let text = '[';
  let separator = '';
  let inTurn = 0;
  for (const item of items) {
    if (item !== REST && item !== undefined) {
      text += separator + JSON.stringify(item);
      separator = ',';
    }
    if (item !== REST && ++inTurn < PORTION) continue;
    if (!(await passOn(response, text))) return;
    text = '';
    inTurn = 0;
  }
  response.end(`${text}]\n`);
}

/** @returns false: nobody reads any more */
async function passOn(response: ServerResponse, text: string): Promise<boolean> {
  if (response.destroyed) return false;
  if (text === '' || response.write(text)) await new Promise((resolve) => setImmediate(resolve));
  else await drained(response);
  return !response.destroyed;
}

function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const goOn = (): void => {
      response.off('drain', goOn);
      response.off('close', goOn);
      resolve();
    };
    response.on('drain', goOn);
    response.on('close', goOn);
  });
}
