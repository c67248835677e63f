import type { HostRoutesOptions } from '../../hostroutes/index.ts';
import type { NewEvent } from '../events.ts';

type HostNews = Exclude<Parameters<HostRoutesOptions['onEvent']>[0], { type: 'spoofed' }>;

/** What the host table has to tell beside its deltas, in the words of the event log. */
export function hostEvent(news: HostNews): NewEvent {
  const fields = { ...news };
  switch (news.type) {
    case 'changed':
      return {
        type: `host.${news.to}`,
        severity: news.to === 'duplicate' ? 'warning' : 'debug',
        message: `${news.address}${news.port === '' ? '' : ` on ${news.port}`}: ${news.from ?? 'unknown'} -> ${news.to}: ${news.reason}`,
        fields,
      };
    case 'alarm':
      return { type: 'hosts.alarm', severity: 'warning', message: news.reason, fields };
    case 'storm':
      return { type: 'hosts.storm', severity: news.began ? 'warning' : 'info', message: news.reason, fields };
    case 'refused':
      return {
        type: 'host.refused',
        severity: 'warning',
        message: `${news.address} on ${news.port} was refused: ${news.reason}`,
        fields,
      };
  }
}
