import { AF, NetlinkError, type Rtnetlink, type Rule } from 'rtnetlink-ts';

/** What the kernel says of rules of a family that it does not have. */
const NO_FAMILY = new Set(['EAFNOSUPPORT', 'EOPNOTSUPP']);

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
    if (family === AF.INET6 && error instanceof NetlinkError && NO_FAMILY.has(error.code)) return undefined;
    throw error;
  }
}

/** Rules of ours (of `protocol`, in one family) that are missing, and those that are not wanted any more. */
export function compareRules(present: readonly Rule[], wanted: readonly Rule[], protocol: number) {
  const ours = present.filter((rule) => rule.protocol === protocol);
  return {
    missing: wanted.filter((rule) => !ours.some((each) => same(each, rule))),
    left: ours.filter((rule) => !wanted.some((each) => same(each, rule))),
  };
}

const same = (one: Rule, other: Rule): boolean =>
  one.priority === other.priority &&
  one.action === other.action &&
  one.table === other.table &&
  one.mark === other.mark &&
  one.inputInterface === other.inputInterface;
