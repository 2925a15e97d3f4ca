import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { forgetChild, recordChild, signal } from './leftovers.js';

const STOP_WITHIN_MS = 10_000;
/** What children need of the launcher's environment: nothing that names a secret. */
const INHERITED = ['PATH', 'HOME', 'LANG', 'TZ', 'NODE_OPTIONS', 'NODE_EXTRA_CA_CERTS'];

export interface ChildOptions {
  /** Shown to people: `PostgreSQL`, `temporal-server`, `api`. */
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  /** All that the child gets beside PATH, HOME, locale and Node's options. Never a secret: others can read it. */
  readonly env?: Record<string, string>;
  readonly logFile: string;
  readonly cwd?: string;
  /** Whether the child tells with an IPC message `{ type: 'ready' }` that it serves. */
  readonly ipc?: boolean;
  readonly stopSignal?: NodeJS.Signals;
  readonly uid?: number;
  readonly gid?: number;
  /** The child ended although nobody stopped it. `lastLines` is the end of its log, on one line. */
  readonly onExit: (name: string, code: number | null, lastLines: string) => void;
}

/** The child ended or stayed silent while it started; the message is one line for a person. */
export class ChildFailed extends Error {
  override readonly name = 'ChildFailed';
}

/**
 * One child process in a process group of its own (a terminal's Ctrl-C reaches only the launcher, which then stops its
 * children in order), its log file and its end.
 */
export class Child {
  private stopping = false;
  private readonly exit: Promise<void>;
  private over = false;
  private neverRan: string | undefined;

  private constructor(
    private readonly options: ChildOptions,
    private readonly process: ChildProcess,
    private readonly record: string | undefined,
  ) {
    this.exit = new Promise((resolve) => {
      process.once('error', (error: NodeJS.ErrnoException) => {
        this.neverRan = `${options.command} does not run (${error.code})`;
        resolve();
      });
      process.once('exit', () => resolve());
    });
    void this.exit.then(() => this.ended());
  }

  static async start(options: ChildOptions): Promise<Child> {
    await mkdir(dirname(options.logFile), { recursive: true });
    const log = openSync(options.logFile, 'a', 0o600);
    // an unset one stays unset: an empty TZ would mean UTC
    const inherited = Object.fromEntries(
      INHERITED.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]])),
    );
    const child = spawn(options.command, options.args, {
      env: { ...inherited, ...options.env },
      stdio: options.ipc === true ? ['ignore', log, log, 'ipc'] : ['ignore', log, log],
      detached: true,
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      ...(options.uid === undefined ? {} : { uid: options.uid }),
      ...(options.gid === undefined ? {} : { gid: options.gid }),
    });
    closeSync(log);
    const record =
      child.pid === undefined
        ? undefined
        : recordChild(dirname(options.logFile), options.name, child.pid, options.stopSignal ?? 'SIGTERM');
    return new Child(options, child, record);
  }

  get pid(): number | undefined {
    return this.process.pid;
  }

  get hasEnded(): boolean {
    return this.over;
  }

  /** Resolves with the child's ready message. @throws ChildFailed when it ends before, or after `withinMs`. */
  async ready(withinMs: number): Promise<unknown> {
    const message = new Promise<unknown>((resolve) => {
      this.process.on('message', (said) => {
        if ((said as { type?: unknown } | null)?.type === 'ready') resolve(said);
      });
    });
    return this.orFail(() => message, withinMs);
  }

  /** Waits for `work`, but not beyond the child's end; then its signal aborts. @throws ChildFailed */
  async orFail<T>(work: (signal: AbortSignal) => Promise<T>, withinMs: number): Promise<T> {
    const { name, logFile } = this.options;
    const giveUp = new AbortController();
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () => reject(new ChildFailed(`${name} was not ready in ${withinMs / 1000} s; see ${logFile}`)),
        withinMs,
      );
    });
    const died = this.exit.then(async () => {
      throw new ChildFailed(`${name} ended while starting: ${await this.lastLines()}`);
    });
    this.stopping = true; // until it is ready its end is told here, not by onExit
    try {
      const result = await Promise.race([work(giveUp.signal), died, late]);
      this.stopping = false;
      return result;
    } finally {
      clearTimeout(timer);
      giveUp.abort();
      died.catch(() => undefined); // the race was decided otherwise; later ends are onExit's
    }
  }

  /** Asks the child to end, insists after 10 s, and resolves when it is gone. */
  async stop(): Promise<void> {
    this.stopping = true;
    if (this.over) return;
    this.process.kill(this.options.stopSignal ?? 'SIGTERM');
    // the whole group: what the child itself started must not outlive it
    const hard = setTimeout(() => signal(-(this.pid ?? 0), 'SIGKILL'), STOP_WITHIN_MS);
    await this.exit;
    clearTimeout(hard);
  }

  /** The end of the child's log on one line, at most 1,000 characters. */
  async lastLines(): Promise<string> {
    if (this.neverRan !== undefined) return this.neverRan;
    const text = await readFile(this.options.logFile, 'utf8');
    if (/ENOSPC|No space left on device/i.test(text.slice(-5000))) return 'the disk is full';
    return text.trim().split('\n').slice(-3).join(' | ').slice(-1000) || 'it said nothing';
  }

  private async ended(): Promise<void> {
    this.over = true;
    if (this.record !== undefined) forgetChild(this.record);
    if (!this.stopping) this.options.onExit(this.options.name, this.process.exitCode, await this.lastLines());
  }
}
