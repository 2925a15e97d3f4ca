import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { EgressSchema, IssuersSchema } from '@bulkhead/runtime/config';
import type { IssuerConfig } from '@bulkhead/runtime/config';
import type { KeyFiles } from './keys.js';
import { writePrivate } from './keys.js';

/** What the three processes have to know; see @bulkhead/runtime/config for the schemas that read it. */
export interface InstallationSettings {
  /** Folder of this installation; configuration goes to `<dataDir>/config`. */
  readonly dataDir: string;
  readonly keys: KeyFiles;
  /** Owner URL of the database; only its host, port and name are used, with the door roles' own logins. */
  readonly ownerUrl: string;
  readonly temporal: {
    readonly address: string;
    readonly uiAddress?: string;
    /** false: the server does not check tokens (development server). */
    readonly enforcesTokens: boolean;
    /** Token of a server that is not ours; ours uses one token per tenant instead. */
    readonly apiKeyFile?: string;
    readonly tls?: boolean;
  };
  readonly api: {
    readonly host: string;
    readonly port: number;
    readonly publicUrl: string;
    readonly graphiql: boolean;
    readonly introspection: boolean;
  };
  readonly host: {
    readonly bundlePath: string;
    readonly mcpServers: Record<string, McpServer>;
    /** Private places that tools of this installation need; those of `<dataDir>/egress.json` come on top. */
    readonly egress?: readonly string[];
  };
  readonly control: { readonly bundlePath: string };
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error';
}

/** A stdio MCP server that hosts may start: code on our machine, so it never comes from tenant data. */
export interface McpServer {
  readonly command: string;
  readonly args: readonly string[];
  /** Name of the environment variable that holds the data file of the tenant's own child. */
  readonly dataFileEnv?: string;
}

export interface ConfigFiles {
  readonly api: string;
  readonly host: string;
  readonly control: string;
}

/** Writes one 0600 file per process, each with only what that process may know. */
export async function writeConfigFiles(settings: InstallationSettings): Promise<ConfigFiles> {
  const folder = join(settings.dataDir, 'config');
  const tokensDir = join(settings.dataDir, 'tokens');
  const { keys, temporal } = settings;
  const url = async (user: string, passwordFile: string): Promise<string> => {
    const login = new URL(settings.ownerUrl);
    login.username = user;
    login.password = encodeURIComponent((await readFile(passwordFile, 'utf8')).trim());
    return login.href;
  };
  const appUrl = await url('bulkhead_app', keys.appPassword);
  const controlUrl = await url('bulkhead_control', keys.controlPassword);
  const server = {
    address: temporal.address,
    enforcesTokens: temporal.enforcesTokens,
    ...(temporal.tls === undefined ? {} : { tls: temporal.tls }),
    ...(temporal.apiKeyFile === undefined ? {} : { apiKeyFile: temporal.apiKeyFile }),
  };
  const log = { level: settings.logLevel };
  const files = {
    api: join(folder, 'api.json'),
    host: join(folder, 'host.json'),
    control: join(folder, 'control.json'),
  };
  await writePrivate(
    files.api,
    json({
      role: 'api',
      database: { url: appUrl, controlUrl, poolMax: 16 },
      temporal: {
        ...server,
        tokensDir: join(tokensDir, 'api'),
        ...(temporal.uiAddress === undefined ? {} : { uiAddress: temporal.uiAddress }),
      },
      keys: { master: keys.master, envelopeSigning: keys.envelopeSigning },
      api: { ...settings.api, issuers: await readIssuers(settings.dataDir) },
      log,
    }),
  );
  await writePrivate(
    files.host,
    json({
      role: 'host',
      database: { url: appUrl, poolMax: 16 },
      // also with a key of your own: the names of the token files are the host's list of tenants
      temporal: { ...server, tokensDir: join(tokensDir, 'hosts') },
      keys: { master: keys.master, envelopePublic: keys.envelopePublic },
      host: {
        ...settings.host,
        dataDir: join(settings.dataDir, 'host'),
        egress: { allow: [...(settings.host.egress ?? []), ...(await readEgress(settings.dataDir))] },
      },
      log,
    }),
  );
  await writePrivate(
    files.control,
    json({
      role: 'control',
      database: { url: controlUrl, poolMax: 8 },
      temporal: { ...server, tokensDir },
      keys: {
        temporalSigning: keys.temporalSigning,
        envelopeSigning: keys.envelopeSigning,
        ...(temporal.apiKeyFile === undefined ? { temporalJwks: keys.temporalJwks } : {}),
      },
      control: { bundlePath: settings.control.bundlePath, exportsDir: join(settings.dataDir, 'exports') },
      log,
    }),
  );
  return files;
}

/** The file that a command reads: BULKHEAD_CONFIG, or the process's one in the data folder of a local installation. */
export const configFileOf = (dataDir: string, role: 'api' | 'control'): string =>
  process.env['BULKHEAD_CONFIG'] ?? join(resolve(dataDir), 'config', `${role}.json`);

/** A setting that a person wrote is not valid; the message names file and field. */
export class SettingInvalid extends Error {
  override readonly name = 'SettingInvalid';
}

/**
 * Whose tokens people may sign in with: `<dataDir>/issuers.json`, written by whoever runs the installation; none without.
 * @throws SettingInvalid
 */
const readIssuers = (dataDir: string): Promise<IssuerConfig[]> =>
  readSetting(join(dataDir, 'issuers.json'), IssuersSchema);

/**
 * Which places of the private network tools may reach: `<dataDir>/egress.json`, a list of `host:port` and networks
 * like `10.1.0.0/16`, written by whoever runs the installation; none without. @throws SettingInvalid
 */
const readEgress = (dataDir: string): Promise<string[]> =>
  readSetting(join(dataDir, 'egress.json'), EgressSchema);

/** What of a schema of @bulkhead/runtime/config is used here. */
interface Schema<T> {
  safeParse(given: unknown):
    | { readonly success: true; readonly data: T }
    | {
        readonly success: false;
        readonly error: {
          readonly issues: readonly { readonly path: readonly PropertyKey[]; readonly message: string }[];
        };
      };
}

/** A list that a person wrote; empty when there is no such file. @throws SettingInvalid */
async function readSetting<T>(file: string, schema: Schema<T>): Promise<T> {
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return '[]';
    throw error;
  });
  let given: unknown;
  try {
    given = JSON.parse(text);
  } catch (error) {
    throw new SettingInvalid(`${file} is not JSON`, { cause: error });
  }
  const parsed = schema.safeParse(given);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new SettingInvalid(
    `${file}: ${issue?.path.join('.') || 'the document'} is not valid (${issue?.message})`,
  );
}

const json = (value: object): string => `${JSON.stringify(value, null, 2)}\n`;
