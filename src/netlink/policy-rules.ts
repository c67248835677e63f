import { AF, lacksFamily, type Rtnetlink, type Rule } from 'rtnetlink-ts';

/**
 * Everybody's rules of a family. undefined: there is no IPv6, which may be switched off at boot.
 *
 * @throws NetlinkError when they can't be read, be it for a moment
 */
export async function rulesOf(
  rtnetlink: Pick<Rtnetlink, 'dumpRules'>,
  family: number,
): Promise<readonly Rule[] | undefined> {
  try {
    return await rtnetlink.dumpRules({ family });
  } catch (error) {
    if (family === AF.INET6 && lacksFamily(error)) return undefined;
    throw error;
  }
}

/** Rules of ours (of `protocol`, in one family) that are missing, and those that are not wanted any more. */
export function compareRules(present: readonly Rule[], wanted: readonly Rule[], protocol: number) {
  const ours = present.filter((rule) => rule.protocol === protocol);
  return {
    missing: wanted.filter((rule) => !ours.some((each) => sameRule(each, rule))),
    left: ours.filter((rule) => !wanted.some((each) => sameRule(each, rule))),
  };
}

/** Of one family and protocol number. */
export const sameRule = (one: Rule, other: Rule): boolean =>
  one.priority === other.priority &&
  one.action === other.action &&
  one.table === other.table &&
  one.mark === other.mark &&
  one.inputInterface === other.inputInterface;
