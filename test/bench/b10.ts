import { createDecipheriv, createCipheriv, createSecretKey, randomBytes } from 'node:crypto';
import type { Proof, ProofSize } from '../proofs/proof.js';
import { admittingJournal } from '../support/admissions.js';
import { openGatewayStage } from './gateway-stage.ts';
import { CREDENTIAL } from './governed-tenant.ts';
import { medianOfRatios } from './rounds.js';

const ROUNDS: Record<ProofSize, number> = { tiny: 1, ci: 15, full: 51 };
const USES: Record<ProofSize, number> = { tiny: 500, ci: 10_000, full: 50_000 };

/**
 * CPU time of one use of a brokered credential, from what admit allowed to the wiped lease (find the stored version,
 * unwrap its data key with the tenant's, decrypt the value, give it out, wipe it), over that of one AES-256-GCM decrypt
 * of the same bytes with a key at hand.
 */
export const run: Proof = async ({ size, progress }) => {
  const stage = await openGatewayStage(progress);
  try {
    const admission = await admittingJournal().admit(stage.tenantId, 'helpdesk');
    const use = async (): Promise<void> => {
      const lease = await stage.broker.lease(admission);
      if (lease?.reveal() !== CREDENTIAL) throw new Error('the broker gave another credential');
      lease.end();
    };
    const decrypt = decryptOf(CREDENTIAL);
    const plain = async (): Promise<void> => {
      if (decrypt() !== CREDENTIAL) throw new Error('it decrypts to something else');
    };
    // both arms await once per use: what is compared is the work, not the promise
    const cpuUs = (work: () => Promise<void>) => async (): Promise<number> => {
      const before = process.cpuUsage();
      for (let i = 0; i < USES[size]; i += 1) await work();
      const { user, system } = process.cpuUsage(before);
      return (user + system) / USES[size];
    };
    return await medianOfRatios({
      goal: 4,
      rounds: ROUNDS[size],
      subject: cpuUs(use),
      baseline: cpuUs(plain),
      progress: (subject, baseline) =>
        progress(`brokered use ${subject.toFixed(2)} us, decrypt ${baseline.toFixed(2)} us of CPU`),
    });
  } finally {
    await stage.close();
  }
};

function decryptOf(text: string): () => string {
  const key = createSecretKey(randomBytes(32));
  const iv = randomBytes(12);
  const context = Buffer.from(JSON.stringify(['secret', 'bench', 'helpdesk', '1']));
  const cipher = createCipheriv('aes-256-gcm', key, iv, { authTagLength: 16 });
  cipher.setAAD(context);
  const sealed = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()]);
  const tag = cipher.getAuthTag();
  return () => {
    const decipher = createDecipheriv('aes-256-gcm', key, iv, { authTagLength: 16 });
    decipher.setAAD(context);
    decipher.setAuthTag(tag);
    return Buffer.concat([decipher.update(sealed), decipher.final()]).toString('utf8');
  };
}
