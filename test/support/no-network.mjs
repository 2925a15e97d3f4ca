// Preload of the replay child: whatever tries to reach the outside fails loudly instead of quietly succeeding.
import dgram from 'node:dgram';
import dns from 'node:dns';
import net from 'node:net';

const refuse = (what) => () => {
  console.error(`replay tried to use the network: ${what}`);
  process.exit(99);
};
net.Socket.prototype.connect = refuse('connect');
dgram.Socket.prototype.send = refuse('send');
dns.lookup = refuse('lookup');
globalThis.fetch = refuse('fetch');
