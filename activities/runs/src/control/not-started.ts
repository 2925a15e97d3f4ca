/** The order came before the start, or between the end and our notice of it: it is delivered again a little later. */
export class NotStartedYet extends Error {
  override readonly name = 'NotStartedYet';
}
