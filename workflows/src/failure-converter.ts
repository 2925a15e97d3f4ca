import { DefaultFailureConverter } from '@temporalio/common';

/** Message and stack of what a workflow throws go into a payload, so that the Worker's codec seals them. */
export const failureConverter = new DefaultFailureConverter({ encodeCommonAttributes: true });
