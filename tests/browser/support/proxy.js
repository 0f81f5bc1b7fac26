// A TCP proxy in front of the server's HTTP port, whose connections a test can break.

import { once } from 'node:events';
import { connect, createServer } from 'node:net';

export async function startProxy(port) {
  const sockets = new Set();
  const server = createServer((client) => {
    const upstream = connect(port, '127.0.0.1');
    for (const [socket, other] of [[client, upstream], [upstream, client]]) {
      sockets.add(socket);
      socket.pipe(other);
      socket.on('error', () => {});
      socket.on('close', () => {
        sockets.delete(socket);
        other.destroy();
      });
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const breakConnections = () => sockets.forEach((socket) => socket.destroy());
  return {
    origin: `http://localhost:${server.address().port}`,
    breakConnections,
    async stop() {
      server.close();
      breakConnections();
      if (server.listening) await once(server, 'close');
    },
  };
}
