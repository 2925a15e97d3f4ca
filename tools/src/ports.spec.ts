import { createServer } from 'node:net';
import { once } from 'node:events';
import { expect, it } from 'vitest';
import { assertFree, configuredPorts, freePort, PortProblem, PORTS } from './ports.js';

it('takes the defaults where nothing is set', async () => {
  const ports = await configuredPorts({});
  expect(ports).toEqual({
    api: 4000,
    helpdesk: 4010,
    model: 4011,
    temporal: 7233,
    temporalUi: 8233,
    postgres: 54320,
  });
  expect(new Set(Object.values(ports)).size).toBe(Object.keys(PORTS).length);
});

it('takes a configured port, and any free one for 0', async () => {
  const ports = await configuredPorts({ BULKHEAD_API_PORT: '4999', BULKHEAD_TEMPORAL_PORT: '0' });
  expect(ports.api).toBe(4999);
  expect(ports.temporal).toBeGreaterThan(0);
  expect(ports.temporal).not.toBe(7233);
});

it.each(['http', '-1', '65536', '4000.5'])('refuses %s as a port, and names the variable', async (value) => {
  await expect(configuredPorts({ BULKHEAD_API_PORT: value })).rejects.toThrow(PortProblem);
  await expect(configuredPorts({ BULKHEAD_API_PORT: value })).rejects.toThrow(
    `BULKHEAD_API_PORT=${value} is not a port number`,
  );
});

it('tells a taken port in one line that names what wants it and how to move it', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  await expect(assertFree('temporal', port)).rejects.toThrow(
    `port ${port} (Temporal server) is taken: stop what uses it, or set BULKHEAD_TEMPORAL_PORT to another port (0: any free one)`,
  );
  server.close();
  await once(server, 'close');
  await expect(assertFree('temporal', port)).resolves.toBeUndefined();
});

it('hands out a port that can be bound', async () => {
  await expect(assertFree('api', await freePort())).resolves.toBeUndefined();
});
