/** Injection token of the Authenticate function. */
export const AUTHENTICATE = Symbol('Authenticate');
