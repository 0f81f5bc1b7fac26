// A TCP proxy in front of a server's HTTP port, whose connections a test can break, or lead to another server.

import { once } from 'node:events';
import { connect, createServer } from 'node:net';

export async function startProxy(port) {
  const pairs = new Set();
  let refusing = false;
  const server = createServer((client) => {
    if (refusing) return void client.destroy();
    const pair = { client, upstream: connect(port, '127.0.0.1'), stranded: false };
    pairs.add(pair);
    pass(pair.client, pair.upstream);
    pass(pair.upstream, pair.client);
    client.on('close', () => pair.stranded || pair.upstream.destroy());
    pair.upstream.on('close', () => {
      client.destroy();
      pairs.delete(pair);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  // A test that fails does not come to stop it; that shall not keep the process alive.
  server.unref();
  return {
    origin: `http://localhost:${server.address().port}`,

    /** Connections to come end at another server. */
    leadTo(other) {
      port = other;
    },

    /** Both sides see their connections end. */
    breakConnections() {
      for (const { upstream } of pairs) upstream.destroy();
    },

    /** The pages see their connections end, the server doesn't: as when a network vanishes. */
    strandConnections() {
      for (const pair of pairs) {
        pair.stranded = true;
        pair.client.destroy();
      }
    },

    /** The server sees the stranded connections end too. */
    endStranded() {
      for (const { stranded, upstream } of pairs) if (stranded) upstream.destroy();
    },

    /** The server is out of reach until `comeBack`. */
    goAway() {
      refusing = true;
      this.breakConnections();
    },

    comeBack() {
      refusing = false;
    },

    /** What the pages send stays here until `release`; what the server sends goes on. */
    hold() {
      for (const { client } of pairs) client.pause();
    },

    release() {
      for (const { client } of pairs) client.resume();
    },

    async stop() {
      const closed = once(server, 'close');
      server.close();
      this.breakConnections();
      await closed;
    },
  };
}

function pass(from, to) {
  from.on('data', (data) => to.writable && to.write(data));
  from.on('error', () => {});
}
