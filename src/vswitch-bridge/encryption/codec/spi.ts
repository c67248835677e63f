/** The SPI: which form a packet has and which key it speaks of (docs/encryption.md). */
import type { ShortKeyId } from './identity.ts';

export const RANGE = { encrypted: 0x8, plain: 0x9, control: 0xa } as const;
export const CONTROL_SPI = 0xa0000001;

export type Spi =
  | ({ readonly range: 'encrypted' /** 8 bits: which life of the pair. */; readonly hint: number } & ShortKeyId)
  | ({ readonly range: 'plain'; readonly off: boolean } & ShortKeyId)
  | { readonly range: 'control' };

const keyBits = ({ version, fp12 }: ShortKeyId): number => (version << 20) | (fp12 << 8);

export const encryptedSpi = (key: ShortKeyId, hint: number): number =>
  ((RANGE.encrypted << 28) | keyBits(key) | hint) >>> 0;

export const plainSpi = (key: ShortKeyId, off: boolean): number =>
  ((RANGE.plain << 28) | keyBits(key) | (off ? 1 : 0)) >>> 0;

/** undefined: of no range that we know, or control in a layout that we don't. */
export function parseSpi(spi: number): Spi | undefined {
  const version = (spi >>> 20) & 0xff;
  const fp12 = (spi >>> 8) & 0xfff;
  switch (spi >>> 28) {
    case RANGE.encrypted:
      return { range: 'encrypted', version, fp12, hint: spi & 0xff };
    case RANGE.plain:
      return { range: 'plain', version, fp12, off: (spi & 1) === 1 };
    default:
      return spi >>> 0 === CONTROL_SPI ? { range: 'control' } : undefined;
  }
}
