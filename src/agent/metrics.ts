import { createServer, type Server } from 'node:http';

/** Part -> counter -> value, as the control API gives them. */
type Counters = Readonly<Record<string, Readonly<Record<string, number>>>>;

/** Prometheus text (exposition format 0.0.4): one family, labelled by part and counter, and the plain gauges given. */
export function metricsText(counters: Counters, gauges: Readonly<Record<string, number>>): string {
  const lines = ['# HELP peerless_count What the agent counted, by part and counter.', '# TYPE peerless_count untyped'];
  for (const [part, values] of Object.entries(counters)) {
    for (const [counter, value] of Object.entries(values)) {
      if (typeof value === 'number') lines.push(`peerless_count{part="${part}",counter="${counter}"} ${value}`);
    }
  }
  for (const [name, value] of Object.entries(gauges))
    lines.push(`# TYPE peerless_${name} gauge`, `peerless_${name} ${value}`);
  return `${lines.join('\n')}\n`;
}

/** Serves `text` at /metrics; rejects when the address can't be bound. */
export async function serveMetrics(
  listen: { host: string; port: number },
  text: () => Promise<string>,
): Promise<Server> {
  const server = createServer(async (request, response) => {
    if (request.url !== '/metrics') {
      response.writeHead(404).end();
      return;
    }
    const body = await text();
    response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4' });
    response.end(body);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(listen.port, listen.host, resolve);
  });
  return server;
}
