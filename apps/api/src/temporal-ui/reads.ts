/**
 * What of a namespace may be read: the paths of Temporal UI's API after `/api/v1/namespaces/{namespace}/`, as its sources
 * write them. What is not here is refused, so that a newer UI server opens nothing by itself.
 */
export const NAMESPACE_READS = [
  'activities',
  'activities/{activity_id}',
  'activities/{activity_id}/outcome',
  'activity-count',
  'archived-workflows',
  'batch-operations',
  'batch-operations/{job_id}',
  'current-deployment/{series_name}',
  'deployments',
  'deployments/{deployment.series_name}/{deployment.build_id}',
  'deployments/{deployment.series_name}/{deployment.build_id}/reachability',
  'nexus-operation-count',
  'nexus-operations',
  'nexus-operations/{operation_id}',
  'nexus-operations/{operation_id}/poll',
  'schedule-count',
  'schedules',
  'schedules/{schedule_id}',
  'schedules/{schedule_id}/matching-times',
  'search-attributes',
  'task-queues/{task_queue.name}',
  'task-queues/{task_queue}/worker-build-id-compatibility',
  'task-queues/{task_queue}/worker-versioning-rules',
  'worker-count',
  'worker-deployment-versions/{deployment_version.deployment_name}/{deployment_version.build_id}',
  'worker-deployments',
  'worker-deployments/{deployment_name}',
  'worker-task-reachability',
  'workers',
  'workers/describe/{worker_instance_key}',
  'workflow-count',
  'workflow-rules',
  'workflow-rules/{rule_id}',
  'workflows',
  'workflows/{execution.workflow_id}',
  'workflows/{execution.workflow_id}/history',
  'workflows/{execution.workflow_id}/history-reverse',
  'workflows/{workflow_execution.workflow_id}/time-skipping/poll',
  'workflows/{workflow}/run/{runid}/history.json',
] as const;

/** Facts about the cluster without any tenant in them. */
export const SYSTEM_READS = ['cluster-info', 'system-info'] as const;

/** What operators of the platform may read besides: it tells of all tenants. */
export const OPERATOR_READS = ['namespaces', 'nexus/endpoints', 'nexus/endpoints/{id}'] as const;

/** Does the path have the form of one of these? A part in braces is any one segment. */
export function isOneOf(reads: readonly string[], segments: readonly string[]): boolean {
  return reads.some((read) => {
    const parts = read.split('/');
    return (
      parts.length === segments.length &&
      parts.every((part, i) => (part.startsWith('{') ? segments[i] !== '' : part === segments[i]))
    );
  });
}
