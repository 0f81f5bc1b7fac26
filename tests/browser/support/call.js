// What a good call looks like, sampled over a while.

import assert from 'node:assert/strict';

const SAMPLE_MS = 2_000;

/** Everyone on `pages` hears and sees everyone else, `others` in all, without a loss, for `seconds`. */
export async function staysGood(pages, seconds, { localType, relayProtocol, others = pages.length - 1 }) {
  let earlier = await readAll(pages);
  for (let left = seconds * 1_000; left > 0; left -= SAMPLE_MS) {
    await new Promise((resolved) => setTimeout(resolved, SAMPLE_MS));
    const later = await readAll(pages);
    for (const [key, peer] of later) {
      assert.equal(peer.state, 'connected', key);
      assert.equal(peer.pair.localType, localType, `${key}: ${JSON.stringify(peer.pair)}`);
      assert.equal(peer.pair.relayProtocol, relayProtocol, key);
      assert.ok(peer.framesDecoded > earlier.get(key).framesDecoded, `${key}: the picture stands still`);
      assert.equal(peer.packetsLost, 0, `${key}: packets were lost`);
    }
    earlier = later;
  }
  assert.equal(earlier.size, pages.length * others);
}

/** Polls `read` until `holds` accepts its value; fails with the last value after `deadlineMs`. */
export async function eventually(read, holds, deadlineMs) {
  const deadline = Date.now() + deadlineMs;
  for (;;) {
    const value = await read();
    if (holds(value)) return value;
    if (Date.now() > deadline) assert.fail(`not so within ${deadlineMs} ms: ${JSON.stringify(value)}`);
    await new Promise((resolved) => setTimeout(resolved, 50));
  }
}

async function readAll(pages) {
  const readings = await Promise.all(pages.map((page) => page.peers()));
  return new Map(readings.flatMap((peers, index) => peers.map((peer) => [`page ${index} <- ${peer.name}`, peer])));
}
