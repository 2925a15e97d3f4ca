/**
 * JSON text that PostgreSQL's jsonb refuses: NUL, and half a character. JSON.stringify writes both as escapes, and a whole
 * character never as one. The look-behind skips a backslash that is itself escaped.
 */
const UNSTORABLE = /(?<!\\)((?:\\\\)*)\\u(?:0000|d[89a-f][0-9a-f]{2})/gi;

/** The same of a text as it is, not of its JSON. */
export const isStorableText = (text: string): boolean => text.isWellFormed() && !text.includes('\u0000');

/** @param json text made by JSON.stringify */
export const isStorable = (json: string): boolean => json.isWellFormed() && json.search(UNSTORABLE) === -1;
