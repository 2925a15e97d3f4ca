import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ACME, field, GLOBEX, startApi } from '../support/api.js';
import type { Answer, TestApi } from '../support/api.js';
import { startIssuer } from '../support/issuer.js';
import type { TestIssuer } from '../support/issuer.js';

const INVITE = 'mutation ($input: InviteMemberInput!) { inviteMember(input: $input) { token } }';
const ACCEPT = 'mutation ($token: String!) { acceptInvitation(token: $token) { tenantId role } }';
const ME = '{ me { role tenant { id } memberships { tenantId } } }';

describe('joining a second tenant', () => {
  let issuer: TestIssuer;
  let api: TestApi;

  beforeAll(async () => {
    issuer = await startIssuer();
    api = await startApi({ issuers: [issuer.config] });
  });
  afterAll(async () => {
    await api?.close();
    await issuer?.close();
  });

  const code = (answer: Answer): string | undefined => answer.errors?.[0]?.extensions.code;
  const invitationTo = async (tenant: typeof ACME): Promise<string> => {
    const answer = await api.ask(await api.key(tenant, 'admin'), INVITE, { input: { role: 'viewer' } });
    return field<{ token: string }>(answer, 'inviteMember').token;
  };
  const accept = async (person: string, token: string, tenant?: string): Promise<Answer> =>
    api.ask(person, ACCEPT, { token }, tenant);

  it('needs no choice from a person whose only tenant is suspended, and gives them nothing there', async () => {
    const ann = await issuer.token('ann');
    expect(code(await accept(ann, await invitationTo(ACME)))).toBeUndefined();
    const globex = await invitationTo(GLOBEX);
    await api.database.asOwner("UPDATE tenants SET status = 'suspended' WHERE id = 'acme'");
    for (const query of ['{ runs { endCursor } }', '{ tenants { id } }', '{ tools { id } }'])
      expect(code(await api.ask(ann, query))).toBe('TENANT_SUSPENDED');
    expect(code(await api.ask(ann, ME, {}, 'acme'))).toBe('TENANT_SUSPENDED');
    expect(code(await accept(ann, globex, 'acme'))).toBe('TENANT_SUSPENDED');
    const nobody = { role: null, tenant: null, memberships: [{ tenantId: 'acme' }] };
    expect(field(await api.ask(ann, ME), 'me')).toEqual(nobody);
    expect((await accept(ann, globex)).data).toEqual({
      acceptInvitation: { tenantId: 'globex', role: 'viewer' },
    });
    expect(field(await api.ask(ann, ME, {}, 'globex'), 'me')).toMatchObject({ role: 'viewer' });
    await api.database.asOwner("UPDATE tenants SET status = 'active' WHERE id = 'acme'");
  });

  it('attack: with a token that is limited to the first', async () => {
    const bob = await issuer.token('bob');
    expect(code(await accept(bob, await invitationTo(ACME)))).toBeUndefined();
    const globex = await invitationTo(GLOBEX);
    const limited = await issuer.token('bob', { tenant: 'acme' });
    expect(code(await accept(limited, globex))).toBe('FORBIDDEN');
    expect(code(await accept(limited, globex, 'acme'))).toBe('FORBIDDEN');
    // the same for an invitation that nobody made: the limit is looked at before any row
    expect(await accept(limited, `bhi_globex_${'A'.repeat(43)}`)).toEqual(await accept(limited, globex));
    expect(field(await api.ask(bob, ME), 'me')).toMatchObject({ memberships: [{ tenantId: 'acme' }] });
    expect(code(await accept(bob, globex))).toBeUndefined();
  });
});
