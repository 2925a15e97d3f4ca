import { createHmac, createPublicKey, generateKeyPairSync, sign } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { personId } from '@bulkhead/tenancy/admin';
import { createIssuers } from '../../apps/api/src/auth/issuers.js';
import { field, startApi } from '../support/api.js';
import type { Answer, TestApi } from '../support/api.js';
import { startIssuer } from '../support/issuer.js';
import type { TestIssuer } from '../support/issuer.js';

const ME = '{ me { actor role workspaceId tenant { id } memberships { tenantId role } } }';
const AGENTS = '{ agents { id } }';

const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
const now = (): number => Math.floor(Date.now() / 1000);

describe('tokens of an issuer', () => {
  let rsa: TestIssuer;
  let ec: TestIssuer;
  let ed: TestIssuer;
  let stranger: TestIssuer;
  let api: TestApi;

  beforeAll(async () => {
    [rsa, ec, ed, stranger] = await Promise.all([
      startIssuer('RS256'),
      startIssuer('ES256'),
      startIssuer('EdDSA'),
      startIssuer('RS256'),
    ]);
    api = await startApi({ issuers: [rsa.config, ec.config, ed.config] });
    await join(rsa, 'ann', 'acme', 'operator');
    await join(ec, 'ann', 'globex', 'viewer');
    await join(ed, 'both', 'acme', 'admin');
    await join(ed, 'both', 'globex', 'viewer');
  });
  afterAll(async () => {
    await api?.close();
    await Promise.all([rsa, ec, ed, stranger].map((issuer) => issuer?.close()));
  });

  const join = (issuer: TestIssuer, subject: string, tenant: string, role: string): Promise<unknown> =>
    api.database.asOwner(
      `INSERT INTO members (tenant_id, id, issuer, subject, role, created_by) VALUES ($1, $2, $3, $4, $5, 'test')`,
      [tenant, personId(issuer.config.issuer, subject), issuer.config.issuer, subject, role],
    );
  const code = (answer: Answer): string | undefined => answer.errors?.[0]?.extensions.code;
  const me = async (token: string, tenant?: string): Promise<unknown> =>
    field(await api.ask(token, ME, {}, tenant), 'me');

  it('say who it is, and our rows say where they belong: the same subject of two issuers is two people', async () => {
    expect(await me(await rsa.token('ann'))).toEqual({
      actor: `user:${personId(rsa.config.issuer, 'ann')}`,
      role: 'operator',
      workspaceId: null,
      tenant: { id: 'acme' },
      memberships: [{ tenantId: 'acme', role: 'operator' }],
    });
    expect(await me(await ec.token('ann'))).toMatchObject({ role: 'viewer', tenant: { id: 'globex' } });
    expect(await me(await ed.token('ann'))).toMatchObject({ role: null, tenant: null, memberships: [] });
  });

  it('of a member of several tenants need a choice, which selects and gives nothing', async () => {
    const token = await ed.token('both');
    expect(await me(token)).toMatchObject({ role: null, tenant: null });
    const undecided = await api.ask(token, AGENTS);
    expect(undecided.errors).toMatchObject([
      { extensions: { code: 'BAD_USER_INPUT', field: 'x-bulkhead-tenant' } },
    ]);
    expect(await me(token, 'acme')).toMatchObject({ role: 'admin', tenant: { id: 'acme' } });
    expect(await me(token, 'globex')).toMatchObject({ role: 'viewer', tenant: { id: 'globex' } });
    const nobody = await api.ask(await rsa.token('nobody'), AGENTS);
    expect(nobody.errors?.[0]).toMatchObject({ message: 'You are not a member of any tenant yet.' });
  });

  it('attack: another tenant in the header or in the claim; foreign and invented tenants are answered alike', async () => {
    const token = await rsa.token('ann');
    const foreign = await api.ask(token, ME, {}, 'globex');
    expect(code(foreign)).toBe('FORBIDDEN');
    for (const named of ['hooli', '', "acme' or true", 'ACME']) {
      expect(await api.ask(token, ME, {}, named), named).toEqual(foreign);
    }
    for (const tenant of ['globex', 'hooli']) {
      expect(await api.ask(await rsa.token('ann', { tenant }), ME)).toEqual(foreign);
    }
    const limited = await ed.token('both', { tenant: 'globex' });
    expect(await me(limited)).toMatchObject({ tenant: { id: 'globex' } });
    expect(await api.ask(limited, ME, {}, 'acme')).toEqual(foreign);
  });

  it('hold from the next request on what a person is now: role, removal, suspended tenant', async () => {
    await join(rsa, 'eve', 'acme', 'admin');
    const token = await rsa.token('eve');
    const id = personId(rsa.config.issuer, 'eve');
    const set = (sql: string): Promise<unknown> =>
      api.database.asOwner(`UPDATE members SET ${sql} WHERE tenant_id = 'acme' AND id = $1`, [id]);
    const start = (): Promise<Answer> =>
      api.ask(
        token,
        'mutation { startRun(input: { agentId: "none", idempotencyKey: "k", input: {} }) { id } }',
      );
    expect(code(await start())).toBe('NOT_FOUND');
    await set("role = 'viewer'");
    expect(code(await start())).toBe('FORBIDDEN');
    await set("role = 'a role of the future'");
    expect(code(await start())).toBe('FORBIDDEN');
    await set("role = 'admin'");
    await api.database.asOwner("UPDATE tenants SET status = 'suspended' WHERE id = 'acme'");
    expect(code(await start())).toBe('TENANT_SUSPENDED');
    await api.database.asOwner("UPDATE tenants SET status = 'active' WHERE id = 'acme'");
    await set('removed_at = now()');
    expect(code(await start())).toBe('FORBIDDEN');
  });

  it('make an operator of the platform out of a person in its list, and of nobody else', async () => {
    const { config } = rsa;
    await api.database.asOwner(
      "INSERT INTO platform_operators (id, issuer, subject, name, created_by) VALUES ($1, $2, 'root', 'Root', 'test')",
      [personId(config.issuer, 'root'), config.issuer],
    );
    expect(await me(await rsa.token('root'))).toMatchObject({ role: 'platform', tenant: null });
    expect(await me(await ec.token('root'))).toMatchObject({ role: null });
  });

  describe('that are not good are all answered alike', () => {
    const forgeries: Record<string, () => Promise<string> | string> = {
      expired: () => rsa.token('ann', { exp: now() - 60 }),
      'not valid yet': () => rsa.token('ann', { nbf: now() + 600 }),
      'for another audience': () => rsa.token('ann', { aud: 'https://other.test' }),
      'for no audience': () => rsa.token('ann', { aud: undefined }),
      'of another issuer by name': () => rsa.token('ann', { iss: ec.config.issuer }),
      'of an issuer that is not configured': () => stranger.token('ann'),
      'of a stranger who says to be ours': () => stranger.token('ann', { iss: rsa.config.issuer }),
      'without an end': () => rsa.token('ann', { exp: undefined }),
      'without a person': () => rsa.token('ann', { sub: undefined }),
      'about no text': () => rsa.token('ann', { sub: { id: 'ann' } }),
      'about an empty name': () => rsa.token(''),
      'with an end that is no number': () => rsa.token('ann', { exp: 'never' }),
      'alg none': async () => {
        const [, payload] = (await rsa.token('ann')).split('.');
        return `${part({ alg: 'none', typ: 'JWT' })}.${payload}.`;
      },
      'alg none with the key named': async () => {
        const [, payload] = (await rsa.token('ann')).split('.');
        return `${part({ alg: 'none', kid: 'first-RS256' })}.${payload}.`;
      },
      'HMAC with the public key as the secret': async () => {
        const [, payload] = (await rsa.token('ann')).split('.');
        const jwk = rsa.issuer.keys.toJSON()[0];
        const pem = createPublicKey({ key: jwk as never, format: 'jwk' }).export({
          type: 'spki',
          format: 'pem',
        });
        const signed = `${part({ alg: 'HS256', kid: 'first-RS256' })}.${payload}`;
        return `${signed}.${createHmac('sha256', pem).update(signed).digest('base64url')}`;
      },
      'with a key of its own in the header': async () => {
        const [, payload] = (await rsa.token('ann')).split('.');
        const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
        const jwk = publicKey.export({ format: 'jwk' });
        const signed = `${part({ alg: 'RS256', kid: 'first-RS256', jwk, jku: stranger.config.issuer })}.${payload}`;
        return `${signed}.${sign('sha256', Buffer.from(signed), privateKey).toString('base64url')}`;
      },
      'with an unknown key id': async () => {
        const [, payload, signature] = (await rsa.token('ann')).split('.');
        return `${part({ alg: 'RS256', kid: 'nobody' })}.${payload}.${signature}`;
      },
      'with no key id, signed by the only key there is': () =>
        rsa.issuer.buildToken({
          scopesOrTransform: (header, payload) => {
            Reflect.deleteProperty(header, 'kid');
            Object.assign(payload, { sub: 'ann', aud: rsa.config.audience });
          },
        }),
      'with an exchanged subject': async () => {
        const [header, payload = '', signature] = (await rsa.token('nobody')).split('.');
        const claims = JSON.parse(Buffer.from(payload, 'base64url').toString()) as object;
        return `${header}.${part({ ...claims, sub: 'ann' })}.${signature}`;
      },
      'with an exchanged tenant': async () => {
        const [header, payload = '', signature] = (await ed.token('both', { tenant: 'globex' })).split('.');
        const claims = JSON.parse(Buffer.from(payload, 'base64url').toString()) as object;
        return `${header}.${part({ ...claims, tenant: 'acme' })}.${signature}`;
      },
      'with an extension that must be understood': async () => {
        const [, payload] = (await rsa.token('ann')).split('.');
        return `${part({ alg: 'RS256', kid: 'first-RS256', crit: ['x'], x: 1 })}.${payload}.c2ln`;
      },
      'too long': () => rsa.token('ann', { padding: 'x'.repeat(8_000) }),
      'no token': () => 'a.b.c',
      'half a token': () => 'eyJhbGciOiJSUzI1NiJ9',
    };

    it.each(Object.keys(forgeries))('%s', async (name) => {
      const refused = await api.ask(undefined, ME);
      expect(code(refused)).toBe('UNAUTHENTICATED');
      expect(await api.ask(await forgeries[name]?.(), ME)).toEqual(refused);
    });
  });

  it('of an issuer that changes its keys go on working, and its new ones work at once', async () => {
    const issuer = await startIssuer('ES256');
    const identify = createIssuers([issuer.config], { keysCooldownMs: 0 });
    const old = await issuer.token('ann');
    expect(await identify(old)).toMatchObject({ subject: 'ann' });
    for (const [kid, algorithm] of [
      ['second', 'RS256'],
      ['third', 'EdDSA'],
    ] as const) {
      await issuer.issuer.keys.generate(algorithm, { kid });
      expect(await identify(await issuer.token('ann', {}, kid))).toMatchObject({ subject: 'ann' });
      expect(await identify(old)).toMatchObject({ subject: 'ann' });
    }
    await issuer.close();
  });

  it('of a key that the issuer withdrew end when our copy of its keys is too old', async () => {
    const issuer = await startIssuer('ES256');
    const identify = createIssuers([issuer.config], { keysCooldownMs: 0, keysAgeMaxMs: 0 });
    const token = await issuer.token('ann');
    expect(await identify(token)).toMatchObject({ subject: 'ann' });
    const other = await startIssuer('ES256');
    const withdrawn = createIssuers([{ ...issuer.config, jwksUri: `${other.config.issuer}/jwks` }], {
      keysAgeMaxMs: 0,
    });
    expect(await withdrawn(token)).toBeUndefined();
    await Promise.all([issuer.close(), other.close()]);
  });

  it('attack: a thousand forged tokens with invented key ids make no storm at the issuer', async () => {
    const issuer = await startIssuer();
    const identify = createIssuers([issuer.config]);
    const [, payload, signature] = (await issuer.token('ann')).split('.');
    for (let batch = 0; batch < 20; batch += 1) {
      const forged = Array.from({ length: 50 }, (_, n) =>
        identify(`${part({ alg: 'RS256', kid: `invented-${batch}-${n}` })}.${payload}.${signature}`),
      );
      expect(new Set(await Promise.all(forged))).toEqual(new Set([undefined]));
    }
    expect(issuer.keyFetches()).toBe(1);
    await issuer.close();
  });

  it('of an issuer that does not answer are refused as our trouble, not theirs, and keys known before still do', async () => {
    const issuer = await startIssuer();
    issuer.answer(false);
    const identify = createIssuers([issuer.config]);
    const token = await issuer.token('ann');
    await expect(identify(token)).rejects.toMatchObject({ code: 'IDENTITY_UNAVAILABLE' });
    issuer.answer(true);
    const known = createIssuers([issuer.config]);
    expect(await known(token)).toMatchObject({ subject: 'ann' });
    issuer.answer(false);
    expect(await known(token)).toMatchObject({ subject: 'ann' });
    await issuer.close();
  });

  it('are asked for over https only, and a discovery document that is about another issuer is not believed', async () => {
    const issuer = await startIssuer();
    const token = await issuer.token('ann');
    const liar = createIssuers([{ ...issuer.config, issuer: `${issuer.config.issuer}/` }]);
    const slashed = await issuer.token('ann', { iss: `${issuer.config.issuer}/` });
    await expect(liar(slashed)).rejects.toMatchObject({ code: 'IDENTITY_UNAVAILABLE' });
    expect(await liar(token)).toBeUndefined();
    await issuer.close();
  });

  it('never reach a log or an error', async () => {
    const token = await rsa.token('ann', { aud: 'https://other.test' });
    await api.ask(token, ME);
    const signature = token.split('.')[2] ?? 'none';
    expect(api.logs.join('\n')).not.toContain(signature);
  });
});
