import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { openControlDoor } from '@bulkhead/prisma/control';
import type { ControlDb } from '@bulkhead/prisma/control';
import { freshDatabase } from '../support/database.js';
import type { TestDatabase } from '../support/database.js';

/** A way to the database that can be closed: then every connection is cut, and each new one at once. */
async function openRoad(
  to: URL,
): Promise<{ port: number; attempts(): number; set(open: boolean): void; close(): void }> {
  const sockets = new Set<Socket>();
  let open = true;
  let attempts = 0;
  const keep = (socket: Socket): void => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => undefined); // the other end was cut
  };
  const server = createServer((socket) => {
    attempts += 1;
    keep(socket);
    if (!open) return void socket.destroy();
    const far = connect(Number(to.port), to.hostname);
    keep(far);
    far.on('close', () => socket.destroy());
    socket.on('close', () => far.destroy());
    socket.pipe(far).pipe(socket);
  });
  const cut = (): void => sockets.forEach((socket) => socket.destroy());
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    attempts: () => attempts,
    set(now) {
      open = now;
      if (!open) cut();
    },
    close() {
      cut();
      server.close();
    },
  };
}

describe('listening at the control door', () => {
  let database: TestDatabase;
  let road: Awaited<ReturnType<typeof openRoad>>;
  let door: ControlDb;

  beforeAll(async () => {
    database = await freshDatabase();
    const url = new URL(database.controlUrl);
    road = await openRoad(new URL(url));
    url.port = String(road.port);
    door = openControlDoor({ url: url.href, poolMax: 2, onError: () => undefined });
  });
  afterAll(async () => {
    await door.close();
    road.close();
    await database.drop();
  });

  const listeners = async (): Promise<number> =>
    (
      await database.asOwner(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN %'",
      )
    ).length;

  it('tries again ever more slowly while the database is away (attack on itself: a storm of connections), and once it is back listens once', async () => {
    const heard: string[] = [];
    const stop = await door.listen('storm', (payload) => heard.push(payload));
    expect(heard).toEqual(['']);
    const before = road.attempts();
    road.set(false);
    await sleep(4_000); // 100 + 200 + 400 + 800 + 1,600 ms are behind it
    const tried = road.attempts() - before;
    expect(tried).toBeGreaterThanOrEqual(4);
    expect(tried).toBeLessThanOrEqual(6);

    road.set(true);
    await vi.waitFor(() => expect(heard).toEqual(['', '']), { timeout: 8_000 });
    expect(await listeners()).toBe(1);
    await database.asOwner("SELECT pg_notify('storm', 'news')");
    await vi.waitFor(() => expect(heard).toEqual(['', '', 'news']));
    await stop();
    await vi.waitFor(async () => expect(await listeners()).toBe(0));
  });

  it('can be stopped while the database is away, and leaves nobody who tries', async () => {
    const stop = await door.listen('gone', () => undefined);
    road.set(false);
    await sleep(250);
    await stop();
    const after = road.attempts();
    await sleep(1_500);
    expect(road.attempts()).toBe(after);
    road.set(true);
  });
});
