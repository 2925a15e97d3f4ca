import { describe, expect, it } from 'vitest';
import { compilePolicy, parsePolicy, readSettings, SETTING_PATHS } from './policy.js';

const problem = (settings: unknown): { path: string; message: string } | undefined => {
  const parsed = parsePolicy({ rules: [], settings });
  return parsed.kind === 'invalid' ? parsed.problems[0] : undefined;
};

describe('settings of a policy', () => {
  it('a document without them, as every document was, keeps what it always kept', () => {
    const parsed = parsePolicy({ rules: [] });
    if (parsed.kind === 'invalid') throw new Error(parsed.problems[0].message);
    expect(compilePolicy(parsed.document).settings).toEqual({
      arguments: 'kept',
      reads: 'unrecorded',
      argumentsDays: undefined,
      answersDays: undefined,
      runsDays: undefined,
    });
    for (const settings of [{}, { audit: {} }, { retention: {} }]) expect(problem(settings)).toBeUndefined();
  });

  it('each one that a document names is the one that holds', () => {
    const retention = { argumentsDays: 0, answersDays: 30, runsDays: 3_650 };
    expect(readSettings({ settings: { retention } })).toMatchObject({ arguments: 'kept', ...retention });
    expect(readSettings({ settings: { audit: { arguments: 'digest' } } })).toMatchObject({
      arguments: 'digest',
    });
    expect(Object.keys(SETTING_PATHS)).toEqual(Object.keys(readSettings({}) ?? {}));
  });

  it.each([
    [{ audit: { arguments: 'none' } }, 'document.settings.audit.arguments', 'kept'],
    [{ audit: { answers: 'digest' } }, 'document.settings.audit.answers', 'nrecognized'],
    [{ audit: { reads: true } }, 'document.settings.audit.reads', 'unrecorded or recorded'],
    [{ retain: {} }, 'document.settings.retain', 'nrecognized'],
    [{ retention: { answersDays: -1 } }, 'document.settings.retention.answersDays', 'from 0 to 3650'],
    [{ retention: { runsDays: 3_651 } }, 'document.settings.retention.runsDays', 'leave it out'],
    [{ retention: { runsDays: 1.5 } }, 'document.settings.retention.runsDays', 'whole number of days'],
    [{ retention: { argumentsDays: '7' } }, 'document.settings.retention.argumentsDays', 'whole number'],
    [{ retention: { journalDays: 7 } }, 'document.settings.retention.journalDays', 'nrecognized'],
    [
      { audit: { arguments: 'digest' }, retention: { argumentsDays: 7 } },
      'document.settings.retention.argumentsDays',
      'leave out one of the two',
    ],
    [[], 'document.settings', 'object'],
    [null, 'document.settings', 'object'],
  ])('%j is refused with its place and what would be right', (settings, path, message) => {
    expect(problem(settings)).toMatchObject({ path, message: expect.stringContaining(message) });
  });

  it('what cannot be read is not taken for the defaults', () => {
    expect(readSettings({ settings: { audit: { arguments: 'other' } } })).toBeUndefined();
    expect(readSettings(null)).toEqual(readSettings({}));
  });
});
