// What happens to a call: muting, reloading, vanishing, reconnecting, taking another path.

import { after, afterEach, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { eventually, staysGood } from './support/call.js';
import { closePages, launchChromium, openCall, PATIENCE_MS } from './support/chromium.js';
import { startProxy } from './support/proxy.js';
import { startSetu } from './support/setu.js';

const REVOCATION_GRACE_MS = 2_000;

let setu;
let browser;

before(async () => {
  setu = await startSetu({ SETU_CREDENTIALS__REVOCATION_GRACE: `${REVOCATION_GRACE_MS / 1_000}s` });
  browser = await launchChromium();
});

after(async () => {
  await browser?.close();
  await setu?.stop();
});

afterEach(async () => {
  await closePages(browser);
  await eventually(() => setu.health(), (health) => health.relay.portsInUse === 0, REVOCATION_GRACE_MS + 10_000);
});

function enter(query, options) {
  return openCall(browser, options?.origin ?? setu.origin, { join: 1, ...query }, options);
}

async function pair(session, query, options) {
  const asha = await enter({ session, name: 'Asha', ...query }, options);
  await asha.page.locator('#call').waitFor();
  const ben = await enter({ session, name: 'Ben', ...query });
  await Promise.all([asha.connectedWith(1), ben.connectedWith(1)]);
  return { asha, ben };
}

async function force({ page }, transport) {
  await page.getByRole('button', { name: 'Connection' }).click();
  await page.getByRole('switch', { name: 'Force relay' }).setChecked(transport !== null);
  if (transport) await page.getByRole('radio', { name: transport, exact: true }).check({ force: true });
  await page.getByRole('button', { name: 'Close' }).click();
}

test('two people who force nothing talk directly', async () => {
  const { asha, ben } = await pair('direct');
  for (const page of [asha, ben]) {
    const [peer] = await page.peers();
    assert.notEqual(peer.pair.localType, 'relay');
    assert.equal(peer.pair.relayProtocol, null);
  }
  await asha.page.getByText('Direct over UDP').waitFor();
  await asha.page.getByText('0 % lost').waitFor();
  assert.deepEqual([...asha.complaints, ...ben.complaints], []);
});

test('a person joins by the form and shares a link that brings others to the same session', async () => {
  const asha = await enter({ session: 'by hand', name: '', join: 0 });
  await asha.page.getByLabel('Your name').fill('Asha');
  await asha.page.getByRole('button', { name: 'Join' }).click();
  await asha.page.getByText('You’re the only one here.').waitFor();

  const ben = await enter({ ...Object.fromEntries(new URL(asha.page.url()).searchParams), join: 0 });
  await ben.page.getByRole('heading', { name: 'Join by hand' }).waitFor();
  await ben.page.getByRole('button', { name: 'Join' }).click();
  await Promise.all([asha.connectedWith(1), ben.connectedWith(1)]);
});

test('a muted microphone and a closed camera show at the other side, and come back', async () => {
  const { asha, ben } = await pair('mute');
  const tile = ben.page.locator('.tile:not(.tile-self)');
  const dock = asha.page.getByRole('group', { name: 'Call controls' });
  await dock.getByRole('button', { name: 'Microphone' }).click();
  await tile.getByLabel('Microphone off').waitFor();
  await dock.getByRole('button', { name: 'Camera' }).click();
  await tile.locator('video').waitFor({ state: 'hidden' });

  await dock.getByRole('button', { name: 'Microphone' }).click();
  await tile.getByLabel('Microphone off').waitFor({ state: 'hidden' });
  const before = (await ben.peers())[0].framesDecoded;
  await dock.getByRole('button', { name: 'Camera' }).click();
  await tile.locator('video').waitFor();
  await ben.peersAre(([peer]) => peer.framesDecoded > before + 5);
});

test('a page that is reloaded comes back as the same participant, without a ghost', async () => {
  const { asha, ben } = await pair('reload', { relay: 1, transport: 'udp' });
  const id = await asha.participantId();
  await asha.page.reload();
  await Promise.all([asha.connectedWith(1), ben.connectedWith(1)]);
  assert.equal(await asha.participantId(), id);
  assert.deepEqual((await ben.peers()).map((peer) => peer.id), [id]);
  assert.equal((await setu.health()).activeParticipants, 2);
  await staysGood([asha, ben], 4, { localType: 'relay', relayProtocol: 'udp' });
});

test('a page that is reloaded with its camera off leaves the camera alone', async () => {
  const { asha, ben } = await pair('camera-off');
  await asha.page.getByRole('group', { name: 'Call controls' }).getByRole('button', { name: 'Camera' }).click();
  await ben.peersAre(([peer]) => peer?.says?.camera === false);
  await asha.page.addInitScript(() => {
    const capture = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    window.asked = [];
    navigator.mediaDevices.getUserMedia = (wanted) => {
      window.asked.push(Object.keys(wanted).join());
      return capture(wanted);
    };
  });
  await asha.page.reload();
  await asha.connectedWith(1);
  assert.deepEqual(await asha.page.evaluate(() => window.asked), ['audio']);
  await ben.peersAre(([peer]) => peer?.state === 'connected' && peer.says?.camera === false);
});

test('a page that is closed without a leave disappears, and the relay lets go', async () => {
  const { asha, ben } = await pair('closed', { relay: 1, transport: 'tcp' });
  await asha.close();
  await ben.peersAre((peers) => peers.length === 0);
  await ben.page.getByText('You’re the only one here.').waitFor();
  await eventually(() => setu.health(), (health) => health.relay.portsInUse === 0, REVOCATION_GRACE_MS + 10_000);
  assert.equal((await setu.health()).activeParticipants, 1);
});

test('a page whose process dies disappears, and the relay lets go after the grace', async () => {
  const { asha, ben } = await pair('crashed', { relay: 1, transport: 'udp' });
  const died = asha.page.waitForEvent('crash');
  asha.page.goto('chrome://crash').catch(() => {});
  await died;
  await ben.peersAre((peers) => peers.length === 0);
  await eventually(() => setu.health(), (health) => health.relay.portsInUse === 0, REVOCATION_GRACE_MS + 10_000);
});

test('a call whose signaling connection breaks is whole again by itself', async () => {
  const proxy = await startProxy(setu.port);
  const { asha, ben } = await pair('broken', { relay: 1, transport: 'udp' }, { origin: proxy.origin });
  const id = await asha.participantId();
  proxy.breakConnections();
  await asha.page.getByText('Reconnecting to the server').waitFor();
  await asha.page.getByText('Reconnecting to the server').waitFor({ state: 'hidden' });
  await Promise.all([asha.connectedWith(1), ben.connectedWith(1)]);
  assert.deepEqual((await ben.peers()).map((peer) => peer.id), [id]);
  assert.equal((await setu.health()).activeParticipants, 2);
  await proxy.stop();
});

test('a connection that only the browser lost is joined again under the living call', async () => {
  const proxy = await startProxy(setu.port);
  const { asha, ben } = await pair('stranded', { relay: 1, transport: 'udp' }, { origin: proxy.origin });
  const [{ framesDecoded }] = await ben.peers();
  proxy.strandConnections();
  await asha.page.getByText('Reconnecting to the server').waitFor();
  await asha.page.getByText('Reconnecting to the server').waitFor({ state: 'hidden' });
  // The count of a new connection would have begun at zero.
  const [later] = await ben.peers();
  assert.ok(later.framesDecoded >= framesDecoded);
  await staysGood([asha, ben], 4, { localType: 'relay', relayProtocol: 'udp' });
  await proxy.stop();
});

test('a page reloaded before the server missed it gets a new connection', async () => {
  const proxy = await startProxy(setu.port);
  const { asha, ben } = await pair('returned', { relay: 1, transport: 'udp' }, { origin: proxy.origin });
  const id = await asha.participantId();
  proxy.strandConnections();
  await asha.page.reload();
  await Promise.all([asha.connectedWith(1), ben.connectedWith(1)]);
  assert.deepEqual((await ben.peers()).map((peer) => peer.id), [id]);
  await staysGood([asha, ben], 4, { localType: 'relay', relayProtocol: 'udp' });
  await proxy.stop();
});

// Who gives way when both offer is settled by the ids: '0' sorts before every id a page makes itself, 'z' after.
for (const { id, manner } of [{ id: '0', manner: 'insists' }, { id: 'z', manner: 'gives way' }]) {
  test(`a path changed while the server is away is found after its return, by the side that ${manner}`, async () => {
    const proxy = await startProxy(setu.port);
    const script = `sessionStorage.setItem('setu.tab', '{"participantId":"${id}"}')`;
    const { asha, ben } = await pair(`away-${id}`, {}, { origin: proxy.origin, script });
    assert.equal(await asha.participantId(), id);
    proxy.goAway();
    await asha.page.getByText('Reconnecting to the server').waitFor();
    await force(asha, 'UDP');
    await asha.peersAre(([peer]) => peer.state === 'new');
    proxy.comeBack();
    await asha.peersAre(([peer]) => peer?.state === 'connected' && peer.pair?.relayProtocol === 'udp');
    await Promise.all([asha.connectedWith(1), ben.connectedWith(1)]);
    assert.equal(await asha.page.locator('.toast-problem').count(), 0);
    await proxy.stop();
  });
}

test('a call that is being left takes nobody in any more', async () => {
  const proxy = await startProxy(setu.port);
  const asha = await enter({ session: 'leaving', name: 'Asha' }, { origin: proxy.origin });
  await asha.page.locator('#call').waitFor();
  const ben = await enter({ session: 'leaving', name: 'Ben', join: 0 });
  await ben.page.locator('#preview').waitFor();
  proxy.hold();
  await asha.leave();
  await ben.page.getByRole('button', { name: 'Join' }).click();
  await ben.peersAre((peers) => peers.length === 1);
  proxy.release();
  await ben.peersAre((peers) => peers.length === 0);
  assert.equal(await asha.page.locator('.tile').count(), 0);
  assert.equal(await asha.page.getByText('Ben joined').count(), 0);
  await proxy.stop();
});

test('a living call moves to another path when the relay is forced and released', async () => {
  const { asha, ben } = await pair('moving');
  await force(asha, 'TLS');
  await asha.peersAre(([peer]) => peer.pair?.relayProtocol === 'tls' && peer.state === 'connected');
  await asha.page.getByText('Relayed over TLS').waitFor();
  await force(asha, 'UDP');
  await asha.peersAre(([peer]) => peer.pair?.relayProtocol === 'udp' && peer.state === 'connected');
  // Both at once: both offer, and one gives way.
  await Promise.all([force(asha, 'TCP'), force(ben, 'TCP')]);
  await Promise.all([asha, ben].map((page) => page.peersAre(([peer]) => peer.pair?.relayProtocol === 'tcp' && peer.state === 'connected')));
  await Promise.all([force(asha, null), force(ben, null)]);
  await asha.peersAre(([peer]) => peer.pair && peer.pair.localType !== 'relay');
  await Promise.all([asha.connectedWith(1), ben.connectedWith(1)]);
});

test('a relay whose certificate the browser distrusts is named in plain words', async () => {
  const distrustful = await launchChromium({ trustEveryCertificate: false });
  try {
    const query = { session: 'distrust', relay: 1, transport: 'tls', join: 1 };
    const asha = await openCall(distrustful, setu.origin, { ...query, name: 'Asha' });
    await asha.page.locator('#call').waitFor();
    await openCall(distrustful, setu.origin, { ...query, name: 'Ben' });
    await asha.page.getByText('The relay can’t be reached over TLS. Browsers want a certificate they trust').waitFor();
    await asha.page.getByText('The relay can’t be reached', { exact: true }).waitFor();
  } finally {
    await distrustful.close();
  }
});

test('a forced route that the server does not offer is named, in a call that is really joined', async () => {
  const plain = await startSetu({ SETU_TURN__LISTEN_TLS: '' });
  try {
    const query = { session: 'no-tls', name: 'Asha', relay: 1, transport: 'tls' };
    const asha = await enter(query, { origin: plain.origin });
    await asha.page.getByText('This server offers no relay over TLS.').waitFor();
    await asha.page.locator('#call').waitFor();
    assert.equal((await plain.health()).activeParticipants, 1);
    await asha.close();
  } finally {
    await plain.stop();
  }
});

test('a person without camera and microphone is told so, and still sees and hears', async () => {
  const nothing = () => {
    navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('none', 'NotFoundError'));
  };
  const ben = await enter({ session: 'listener', name: 'Ben', join: 0 }, { script: nothing });
  await ben.page.getByText('No camera or microphone found. You can still join').waitFor();
  await ben.page.getByRole('button', { name: 'Join' }).click();
  await ben.page.locator('#call').waitFor();
  const asha = await enter({ session: 'listener', name: 'Asha' });
  await ben.connectedWith(1);
  await asha.peersAre(([peer]) => peer?.says?.camera === false && peer.state === 'connected');
});

test('a browser that blocks the storage still calls', async () => {
  const blocked = () => {
    for (const name of ['localStorage', 'sessionStorage']) {
      Object.defineProperty(window, name, { get() { throw new DOMException('blocked', 'SecurityError'); } });
    }
  };
  const { asha, ben } = await pair('unstored', {}, { script: blocked });
  await asha.page.reload();
  await ben.peersAre((peers) => peers.length === 0);
  assert.deepEqual(asha.complaints, []);
});

test('a tab that remembers what is no longer readable begins afresh', async () => {
  const asha = await enter({ session: 'unreadable', name: 'Asha' }, { script: `sessionStorage.setItem('setu.tab', '{')` });
  await asha.page.locator('#call').waitFor();
  assert.deepEqual(asha.complaints, []);
});

test('a server that does not answer is named in plain words', { timeout: PATIENCE_MS }, async () => {
  const proxy = await startProxy(setu.port);
  const asha = await enter({ session: 'silent', name: 'Asha', join: 0 }, { origin: proxy.origin });
  await proxy.stop();
  await asha.page.getByRole('button', { name: 'Join' }).click();
  await asha.page.getByRole('alert').getByText('The server does not answer.').waitFor();
  await asha.page.getByRole('button', { name: 'Join' }).waitFor();
});
