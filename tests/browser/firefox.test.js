// Firefox and Chromium in one call, in both roles.

import { after, afterEach, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { eventually } from './support/call.js';
import { closePages, launchChromium, openCall, PATIENCE_MS } from './support/chromium.js';
import { launchFirefox } from './support/firefox.js';
import { startSetu } from './support/setu.js';

let setu;
let chromium;
let firefox;
let complaints;

before(async () => {
  setu = await startSetu();
  chromium = await launchChromium();
  firefox = await launchFirefox();
});

after(async () => {
  await chromium?.close();
  await firefox?.close();
  await setu?.stop();
});

afterEach(async () => {
  await closePages(chromium);
  await Promise.all((await firefox.pages()).map((page) => page.close()));
});

for (const { first, relay, transport } of [
  { first: 'chromium', relay: 1, transport: 'udp' },
  { first: 'firefox', relay: 1, transport: 'tcp' },
  { first: 'firefox', relay: 0, transport: 'any' },
]) {
  const path = relay ? `the relay forced over ${transport.toUpperCase()}` : 'no relay forced';
  test(`Firefox and Chromium call each other, ${first} first, ${path}`, async () => {
    complaints = [];
    const session = `mixed-${first}-${transport}`;
    const query = (name) => ({ session, name, relay, transport, join: 1 });
    const openers = {
      chromium: () => openCall(chromium, setu.origin, query('Asha')),
      firefox: () => openInFirefox(query('Ben')),
    };
    const second = first === 'chromium' ? 'firefox' : 'chromium';
    const pages = { [first]: await openers[first]() };
    await eventually(() => setu.health(), (health) => health.activeParticipants === 1, PATIENCE_MS);
    pages[second] = await openers[second]();

    for (const [name, page] of Object.entries(pages)) {
      const peers = () => (name === 'firefox' ? page.evaluate(() => window.setu.peers()) : page.peers());
      const [peer] = await eventually(peers, ([one]) => one?.state === 'connected' && one.pair && one.framesDecoded > 5, PATIENCE_MS);
      assert.equal(peer.pair.localType === 'relay', relay === 1, `${name}: ${JSON.stringify(peer.pair)}`);
      assert.equal(peer.pair.relayProtocol, relay ? transport : null, name);
      assert.equal(peer.packetsLost, 0, name);
      const { framesDecoded } = peer;
      await eventually(peers, ([one]) => one.framesDecoded > framesDecoded + 5, PATIENCE_MS);
    }
    await pages.firefox.evaluate(() => document.getElementById('leave').click());
    await pages.chromium.leave();
    await eventually(() => setu.health(), (health) => health.relay.portsInUse === 0, 1_500);
    assert.deepEqual([...pages.chromium.complaints, ...complaints], []);
  });
}

async function openInFirefox(query) {
  const page = await firefox.newPage();
  page.on('pageerror', (error) => complaints.push(`exception: ${error.message}`));
  page.on('console', (message) => {
    if (['error', 'warn'].includes(message.type())) complaints.push(`console: ${message.text()}`);
  });
  await page.goto(`${setu.origin}/?${new URLSearchParams(query)}`);
  return page;
}
