import type { LldpView } from '../agent/api.ts';

/** `0.3s`, `12s`, `4m10s`, `3h05m`, `2d04h`: short and with two units at most. */
export function age(milliseconds: number): string {
  const seconds = Math.max(0, milliseconds) / 1000;
  if (seconds < 10) return `${seconds.toFixed(1)}s`;
  const whole = Math.floor(seconds);
  if (whole < 60) return `${whole}s`;
  const two = (value: number) => String(value).padStart(2, '0');
  if (whole < 3600) return `${Math.floor(whole / 60)}m${two(whole % 60)}s`;
  if (whole < 86_400) return `${Math.floor(whole / 3600)}h${two(Math.floor((whole % 3600) / 60))}m`;
  return `${Math.floor(whole / 86_400)}d${two(Math.floor((whole % 86_400) / 3600))}h`;
}

/** How long ago an ISO time was. */
export const since = (iso: string, now: number = Date.now()): string => age(now - Date.parse(iso));

/** Local time of day with milliseconds; the date too when it isn't today. */
export function clockTime(iso: string, now: Date = new Date()): string {
  const time = new Date(iso);
  if (Number.isNaN(time.getTime())) return iso;
  const two = (value: number, width = 2) => String(value).padStart(width, '0');
  const day = `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())}`;
  const clock = `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}.${two(time.getMilliseconds(), 3)}`;
  return time.toDateString() === now.toDateString() ? clock : `${day} ${clock}`;
}

/** Microseconds with the thousands apart: `1,250`. */
export const microseconds = (value: number): string =>
  Math.round(value)
    .toString()
    .replace(/\B(?=(\d{3})+(?!\d))/g, ',');

export const yesNo = (value: boolean): string => (value ? 'yes' : 'no');
export const upDown = (value: boolean): string => (value ? 'up' : 'down');

/** By LLDP: `leaf-1 swp7`, several after commas. */
export const neighbourText = (lldp: readonly LldpView[] | undefined): string | undefined =>
  lldp
    ?.map(
      ({ systemName, portId, portDescription }) =>
        `${systemName} ${isMac(portId) ? (portDescription ?? portId) : portId}`,
    )
    .join(', ');

/** Linux hosts give the MAC as the port's id, and its name as the description. */
const isMac = (portId: string): boolean => /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(portId);
