import type { Logger } from 'pino';
import { openControlDoor } from '@bulkhead/prisma/control';
import { openTenantDoor, tenantKeys } from '@bulkhead/prisma/tenant';
import { createAcceptRun } from '@bulkhead/runs/admin';
import { openHistoryPayloads, openSealed, sealArgumentsWith } from '@bulkhead/runtime/codec';
import type { ApiConfig } from '@bulkhead/runtime/config';
import { createEnvelopeSigner } from '@bulkhead/runtime/envelope';
import { createKeyRing } from '@bulkhead/runtime/keys';
import type { KeyRing } from '@bulkhead/runtime/keys';
import { openTokenSource } from '@bulkhead/runtime/tokens';
import { newUlid } from '@bulkhead/runtime/ulid';
import { createIssuers } from './auth/issuers.js';
import { capabilities } from './capabilities.js';
import type { ApiDeps } from './deps.js';
import { readListedDocuments } from './graphql/listed-documents.js';

/** Connections of the control door: one look-up per request, and the listener has its own. */
const CONTROL_POOL_MAX = 4;
/** For kills, pauses and resumes: one connection per tenant at a time. */
const STOP_POOL_MAX = 4;

export interface ComposedApi {
  readonly deps: ApiDeps;
  readonly keyRing: KeyRing;
  close(): Promise<void>;
}

/** Opens doors, keys and tokens as the configuration says; connections are made on first use. */
export function composeApi(config: ApiConfig, log: Logger): ComposedApi {
  const onError = (err: Error): void => log.warn({ err }, 'a database connection broke and is replaced');
  const { url, controlUrl, poolMax } = config.database;
  const door = openTenantDoor({ url, poolMax, onError });
  const controlDoor = openTenantDoor({ url, poolMax: STOP_POOL_MAX, onError });
  const control = openControlDoor({ url: controlUrl, poolMax: CONTROL_POOL_MAX, onError });
  const keyRing = createKeyRing({ masterKeyPath: config.keys.master, loadTenantKey: tenantKeys(door) });
  const signer = createEnvelopeSigner(config.keys.envelopeSigning);
  const tokens = openTokenSource(config.temporal);
  const sealArguments = sealArgumentsWith(keyRing);
  const now = (): Date => new Date();
  return {
    deps: {
      door,
      controlDoor,
      control,
      identify: createIssuers(config.api.issuers),
      acceptRun: createAcceptRun({
        signEnvelope: (envelope) => signer.sign(envelope),
        sealArguments,
        newUlid: () => newUlid(now().getTime()),
        now,
      }),
      payloads: {
        sealArguments,
        open: (id, sealed) => openSealed(keyRing, id, sealed),
        decode: (id, payloads) => openHistoryPayloads(keyRing, id, payloads),
      },
      tenantKeys: keyRing,
      ...capabilities(keyRing, sealArguments),
      readTokens: { tenant: (id) => tokens.get(id, 'read'), system: () => tokens.system('read') },
      settings: {
        publicUrl: config.api.publicUrl.replace(/\/+$/, ''),
        graphiql: config.api.graphiql,
        introspection: config.api.introspection,
        documents: config.api.documents === undefined ? undefined : readListedDocuments(config.api.documents),
        requestMs: config.api.requestSeconds * 1_000,
        subscriptions: {
          perTenant: config.api.subscriptionsPerTenant,
          perCaller: config.api.subscriptionsPerCaller,
        },
        refusalsPerMinute: config.api.refusalsPerMinute,
        decodesPerMinute: config.api.decodesPerMinute,
        uiAddress: baseUrl(config.temporal.uiAddress),
      },
      log,
    },
    keyRing,
    async close() {
      await door.close();
      await controlDoor.close();
      await control.close();
    },
  };
}

function baseUrl(address: string | undefined): string | undefined {
  return address === undefined || address.includes('://') ? address : `http://${address}`;
}
