// Two, then four people, every packet through Setu's own relay: over UDP, TCP and TLS, on many ports and on few.

import { after, afterEach, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:tls';
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
/** Every allocation ends with the leave: long before the grace of those who are lost is over. */
const PORTS_FREE_WITHIN_MS = 10_000;

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
  const crowded = await startSetu({}, { relayPorts: 2 });
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

test('a certificate, a secret and limits are exchanged in a call over TLS, and nobody notices', async () => {
  const limits = (perUser) => `[limits]\nallocations_per_user = ${perUser}\n`;
  const config = (credentials, perUser) => `[credentials]\n${credentials}\n${limits(perUser)}`;
  const setu = await startSetu(
    { SETU_TURN__TLS_CERT_FILE: 'cert.pem', SETU_TURN__TLS_KEY_FILE: 'key.pem' },
    { files: { ...certificate(), 'turn.toml': config('secret = "the first one, which is long enough"', 60) } },
  );
  try {
    const pages = [];
    for (const name of NAMES) {
      pages.push(await openCall(browser, setu.origin, { session: 'exchange', name, relay: 1, transport: 'tls', join: 1 }));
      await Promise.all(pages.map((page) => page.connectedWith(pages.length - 1)));
    }
    const earlier = await shownAt(setu.addresses.tls[0]);
    const good = staysGood(pages, 12, { localType: 'relay', relayProtocol: 'tls' });
    const secrets = 'secret = "the second one, which is long too"\nprevious_secrets = ["the first one, which is long enough"]';
    const line = await setu.reload({ ...certificate(), 'turn.toml': config(secrets, 50) });
    assert.match(line, /credentials\.secret.*limits\.allocations_per_user/);
    assert.notEqual(await shownAt(setu.addresses.tls[0]), earlier);
    await setu.reload({ 'turn.toml': config(secrets, 40) });
    await good;
    assert.deepEqual(pages.flatMap((page) => page.complaints), []);
  } finally {
    await setu.stop();
  }
});

/** A new one, for this machine. */
function certificate() {
  const options = 'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost -keyout - -out -';
  const pem = execFileSync('openssl', options.split(' '), { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  const at = pem.indexOf('-----BEGIN CERTIFICATE');
  return { 'key.pem': pem.slice(0, at), 'cert.pem': pem.slice(at) };
}

/** The fingerprint of the certificate that is shown to whoever connects now. */
async function shownAt(address) {
  const socket = connect({ host: '127.0.0.1', port: Number(address.split(':').at(-1)), rejectUnauthorized: false });
  await once(socket, 'secureConnect');
  const { fingerprint256 } = socket.getPeerCertificate();
  socket.destroy();
  return fingerprint256;
}
