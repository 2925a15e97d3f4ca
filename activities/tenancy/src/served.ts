/** Tenants whose people may come in; one that is being provisioned accepts work, which starts when it is active. */
export const SERVED_STATUSES = ['active', 'provisioning'] as const;
