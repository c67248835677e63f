import type { Announcer } from '../../model/hosts.ts';

/** For an announcer by which a shadow would not be worse than everything real: to it they are withdrawn. */
export function withoutShadows(announcer: Announcer): Announcer {
  return {
    name: announcer.name,
    apply: (delta) => {
      if (!delta.announced.some(({ shadow }) => shadow)) return announcer.apply(delta);
      const shadows = delta.announced.filter(({ shadow }) => shadow).map(({ address }) => address);
      const announced = delta.announced.filter(({ shadow }) => !shadow);
      return announcer.apply({ withdrawn: [...delta.withdrawn, ...shadows], announced });
    },
  };
}
