// A reading circle with video: the application's own kinds of clients, on their own origin, against Setu.

import { after, afterEach, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { openPage, startApp } from './support/app.js';
import { eventually } from './support/call.js';
import { closePages, launchChromium, PATIENCE_MS } from './support/chromium.js';
import { startSetu } from './support/setu.js';

const VERSE = { chapter: 2, verse: 47, text: 'कर्मण्येवाधिकारस्ते मा फलेषु कदाचन' };

let app;
let setu;
let browser;
let ice;

before(async () => {
  app = await startApp();
  setu = await startSetu({ NEXT_PUBLIC_APP_URL: app.origin, SETU_TURN__EXTERNAL_IP: '127.0.0.1' });
  browser = await launchChromium();
  // As the page has them: one fixed user, several addresses.
  const { udp, tcp } = setu.addresses;
  const port = (address) => address.split(':').at(-1);
  const urls = [`turn:127.0.0.1:${port(udp[0])}?transport=udp`, `turn:127.0.0.1:${port(tcp[0])}?transport=tcp`];
  ice = JSON.stringify([
    { urls: `stun:127.0.0.1:${port(udp[0])}` },
    { urls, username: 'turnuser', credential: 'turnpass' },
  ]);
});

after(async () => {
  await browser?.close();
  await setu?.stop();
  app?.stop();
});

afterEach(() => closePages(browser));

const enter = (session, id, clients) =>
  openPage(browser, app.origin, { server: setu.origin, session, id, name: `${id} devi`, clients, ice });

test('a circle reads in turns, sees each other, and ends', { timeout: 10 * PATIENCE_MS }, async () => {
  const asha = await enter('circle', 'asha', 'reading,video');
  await asha.grantCamera([]);
  const ben = await enter('circle', 'ben', 'reading,video');
  await ben.grantCamera([asha]);
  const chitra = await enter('circle', 'chitra', 'reading,video,plain');
  await chitra.grantCamera([asha, ben], 2);
  const pages = [asha, ben, chitra];
  const all = (wanted) => Promise.all(pages.map((page) => page.shows(wanted)));
  await all({ participants: ['asha', 'ben', 'chitra'] });
  await Promise.all([asha.sees('ben', 'chitra'), ben.sees('asha', 'chitra'), chitra.sees('asha', 'ben')]);

  await asha.has('reading', 'enterQueue');
  await all({ queue: ['asha'], currentReader: 'asha' });
  await ben.has('reading', 'enterQueue');
  await all({ queue: ['asha', 'ben'], currentReader: 'asha' });
  await chitra.has('reading', 'enterQueue');
  await all({ queue: ['asha', 'ben', 'chitra'], currentReader: 'asha' });
  await asha.shows({ isMyTurn: true });

  await asha.has('reading', 'changeVerse', VERSE);
  await all({ verse: VERSE });
  await asha.has('reading', 'startReading');
  await asha.has('reading', 'finishReading');
  await all({ queue: ['ben', 'chitra'], currentReader: 'ben' });
  await ben.shows({ isMyTurn: true });
  await ben.has('reading', 'skipReading');
  await all({ queue: ['chitra', 'ben'], currentReader: 'chitra' });
  await chitra.has('plain', 'requestNextVerse');
  await chitra.has('plain', 'updateReadingStatus', 'reading');

  await asha.has('reading', 'startTimer', 300);
  await all({ timer: { timeRemaining: 300, isActive: true, isPaused: false } });
  await all({ timer: { timeRemaining: 295, isActive: true, isPaused: false } });
  await ben.has('reading', 'pauseTimer');
  const paused = { timeRemaining: 295, isActive: true, isPaused: true };
  await all({ timer: paused });

  const known = { queue: ['chitra', 'ben'], currentReader: 'chitra', verse: VERSE, timer: paused };
  await asha.page.reload();
  await asha.grantCamera([ben, chitra]);
  await asha.shows({ ...known, participants: ['ben', 'chitra', 'asha'] });
  await all({ ...known, participants: ['ben', 'chitra', 'asha'] });
  await Promise.all([asha.sees('ben', 'chitra'), ben.sees('asha', 'chitra'), chitra.sees('asha', 'ben')]);

  await asha.has('reading', 'endSession', 'सत्सङ्ग समाप्त');
  await all({ ended: 'सत्सङ्ग समाप्त' });
  for (const page of pages) {
    assert.deepEqual(await page.errors(), []);
    assert.deepEqual(page.complaints, []);
  }
  // Most are candidates and ticks, as many as browsers and time give; an echo of the echo would have no end.
  const told = await chitra.page.evaluate(() => window.plain.told.length);
  assert.equal(told < 1000, true, `${told} events came to the client that sends everything back`);
});

test('the older video clients, who answer to all, see each other', { timeout: 4 * PATIENCE_MS }, async () => {
  const pages = [];
  for (const id of ['asha', 'ben']) {
    const page = await enter('older', id, 'reading,older-video');
    await page.grantCamera(pages);
    pages.push(page);
  }
  await Promise.all([pages[0].sees('ben'), pages[1].sees('asha')]);
  for (const page of pages) {
    assert.deepEqual(await page.errors(), []);
    assert.deepEqual(page.complaints, []);
  }
});

test('a page that loses its connection for a moment goes on as if nothing had been', { timeout: 4 * PATIENCE_MS }, async () => {
  const asha = await enter('lost', 'asha', 'reading');
  const ben = await enter('lost', 'ben', 'reading');
  await Promise.all([asha, ben].map((page) => page.shows({ participants: ['asha', 'ben'] })));
  await asha.page.evaluate(() => { window.reading.socket.io.engine.close(); });
  await ben.shows({ participants: ['ben'] });
  await ben.has('reading', 'changeVerse', VERSE);
  await ben.has('reading', 'enterQueue');
  await asha.shows({ verse: VERSE, queue: ['ben'], currentReader: 'ben' });
  await ben.shows({ participants: ['ben', 'asha'] });
  await asha.has('reading', 'changeVerse', 'by asha');
  await ben.shows({ verse: 'by asha' });
  assert.deepEqual(await asha.errors(), []);
});

test('a page of another origin is not let in', async () => {
  const foreign = await startApp();
  try {
    const page = await openPage(browser, foreign.origin, { server: setu.origin, session: 'foreign', id: 'eve', clients: 'reading' });
    const refused = (errors) => errors.some((error) => error.startsWith('connect_error'));
    await eventually(() => page.errors(), refused, PATIENCE_MS);
    assert.deepEqual((await page.state()).participants, []);
  } finally {
    foreign.stop();
  }
});
