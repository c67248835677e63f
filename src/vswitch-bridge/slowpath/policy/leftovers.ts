/** What a policy left in the kernel whose agent is gone. */
import { list, load, type NftOptions } from './nft.ts';
import { deletionText, TABLE } from './ruleset/index.ts';

/** Rejects with NftError when the kernel can't be asked. */
export async function standsPolicy(options: NftOptions = {}): Promise<boolean> {
  const listing = await list(['list', 'tables'], options);
  return (listing ?? []).some(({ table }) => (table as { readonly name?: string } | undefined)?.name === TABLE);
}

/** Rejects with NftError. */
export const removePolicy = (options: NftOptions = {}): Promise<void> => load(deletionText(), options);
