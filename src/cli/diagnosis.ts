/** `wrong`: something will not work. `warning`: it works worse, or only in some cases. */
export interface Diagnosis {
  readonly check: string;
  readonly verdict: 'fine' | 'warning' | 'wrong';
  readonly message: string;
  readonly remedy?: string;
}
