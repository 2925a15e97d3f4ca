import { randomUUID } from 'node:crypto';
import { Context } from '@temporalio/activity';
import type { Logger } from 'pino';
import type { HostId } from '@bulkhead/contract';
import type { TenantDoor } from '@bulkhead/prisma/tenant';
import type { HostConfig } from '@bulkhead/runtime/config';
import type { GovernedActivities } from '@bulkhead/runtime/worker';
import type { Pulse } from './host/pulse.js';
