// Two, then four people, every packet through Setu's own relay: over UDP, TCP and TLS, on many ports and on few.

import { after, afterEach, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { eventually, staysGood } from './support/call.js';
import { closePages, launchChromium, openCall } from './support/chromium.js';
import { startSetu } from './support/setu.js';

/** How long each call is watched, in seconds. */
const CASES = [
  { transport: 'udp', watched: 20 },
  { transport: 'tcp', watched: 8 },
  { transport: 'tls', watched: 8 },
];
const NAMES = ['Asha', 'Ben', 'Chitra', 'Dāmodara'];
/** Every allocation ends with the leave, not with a timer. */
const PORTS_FREE_WITHIN_MS = 1_500;

let setu;
let browser;

before(async () => {
  setu = await startSetu();
  browser = await launchChromium();
});

after(async () => {
  await browser?.close();
  await setu?.stop();
});

afterEach(() => closePages(browser));

for (const { transport, watched } of CASES) {
  test(`two, then four people call each other with the relay forced over ${transport.toUpperCase()}`, async () => {
    const pages = [];
    const enter = async (name) => {
      pages.push(await openCall(browser, setu.origin, { session: `circle-${transport}`, name, relay: 1, transport, join: 1 }));
      await Promise.all(pages.map((page) => page.connectedWith(pages.length - 1)));
    };
    const path = { localType: 'relay', relayProtocol: transport };

    await enter(NAMES[0]);
    await enter(NAMES[1]);
    await staysGood(pages, watched, path);
    await enter(NAMES[2]);
    await enter(NAMES[3]);
    await staysGood(pages, watched, path);

    const { activeSessions, activeParticipants, relay } = await setu.health();
    assert.deepEqual({ activeSessions, activeParticipants }, { activeSessions: 1, activeParticipants: 4 });
    assert.ok(relay.portsInUse > 0);

    await Promise.all(pages.map((page) => page.leave()));
    await eventually(() => setu.health(), (health) => health.relay.portsInUse === 0, PORTS_FREE_WITHIN_MS);
    assert.equal((await setu.health()).activeParticipants, 0);
    assert.deepEqual(pages.flatMap((page) => page.complaints), []);
  });
}

test('four people call each other with the relay forced for some, and two ports for all', async () => {
  const crowded = await startSetu({}, 2);
  try {
    const pages = [];
    for (const [index, name] of NAMES.entries()) {
      const relay = index === 3 ? 0 : 1;
      pages.push(await openCall(browser, crowded.origin, { session: 'crowd', name, relay, transport: 'udp', join: 1 }));
      await Promise.all(pages.map((page) => page.connectedWith(pages.length - 1)));
    }
    await staysGood(pages.slice(0, 3), 8, { localType: 'relay', relayProtocol: 'udp', others: 3 });
    const { relay } = await crowded.health();
    assert.equal(relay.portsInUse, 2);
    assert.ok(relay.allocations >= 9, `${relay.allocations} allocations`);
    await Promise.all(pages.map((page) => page.leave()));
    await eventually(() => crowded.health(), (health) => health.relay.portsInUse === 0, PORTS_FREE_WITHIN_MS);
    assert.deepEqual(pages.flatMap((page) => page.complaints), []);
  } finally {
    await crowded.stop();
  }
});
