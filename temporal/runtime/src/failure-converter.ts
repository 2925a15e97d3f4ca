import { DefaultFailureConverter } from '@temporalio/common';

/**
 * Moves message and stack of a failure into a payload, which the codec then seals: on their own, a codec leaves them
 * readable in the history. Workers load this module by its path; the workflow bundle has the same of its own.
 */
export const failureConverter = new DefaultFailureConverter({ encodeCommonAttributes: true });
