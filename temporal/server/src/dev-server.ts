// A process of its own: runs the development server that Temporal's test package downloads once (needs the internet).
import { TestWorkflowEnvironment } from '@temporalio/testing';

/** The only argument, as JSON. */
export interface DevServerArguments {
  readonly port: number;
  readonly uiPort: number;
  readonly dbFilename: string;
  readonly downloadDir: string;
}

const { port, uiPort, dbFilename, downloadDir } = JSON.parse(process.argv[2] ?? '{}') as DevServerArguments;

let environment: TestWorkflowEnvironment;
try {
  environment = await TestWorkflowEnvironment.createLocal({
    server: {
      ip: '127.0.0.1',
      port,
      ui: true,
      uiPort,
      dbFilename,
      extraArgs: ['--ui-public-path', '/temporal'],
      executable: { type: 'cached-download', downloadDir },
    },
  });
} catch (error) {
  const why = String((error as Error).message).split('\n')[0];
  process.stderr.write(
    `the development server cannot be had (${why}): install Go, Python 3 with pip, or the "temporal" command\n`,
  );
  process.exit(1);
}

const stop = async (): Promise<void> => {
  await environment.teardown();
  process.exit(0);
};
process.on('SIGTERM', () => void stop());
process.on('disconnect', () => void stop()); // the launcher is gone: nobody else would stop the server
process.send?.({ type: 'ready' });
