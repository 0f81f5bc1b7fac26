// The pictures of the README, taken anew. They go to target/screenshots; SETU_KEEP_SCREENSHOTS=1 keeps them as docs/images.

import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { launchChromium, openCall, PATIENCE_MS } from './support/chromium.js';
import { join } from './support/joined.js';
import { SCHEMES } from './support/look.js';
import { startSetu } from './support/setu.js';

const ROOT = resolve(import.meta.dirname, '../..');
const KEPT = resolve(ROOT, 'docs/images');
const TAKEN = process.env.SETU_KEEP_SCREENSHOTS ? KEPT : resolve(ROOT, 'target/screenshots');
const VIEWPORT = { width: 1280, height: 800 };
/** People, by session. */
const SESSIONS = {
  'bhakti-study': ['Chitra Menon', 'Dāmodara', 'Esi Owusu', 'Farid'],
  'gita-chapter-2': ['Grace', 'Hari'],
  'morning-verses': ['Ishaan', 'Jaya', 'Kamala', 'Lila', 'Madhu', 'Nila'],
  'sunday-circle': ['Omar', 'Priya', 'Rūpa'],
  'weekly-review': ['Tara'],
};

let setu;
let browser;
let sockets;

before(async () => {
  mkdirSync(TAKEN, { recursive: true });
  setu = await startSetu();
  browser = await launchChromium();
  sockets = await populate();
});

after(async () => {
  for (const socket of sockets ?? []) socket.disconnect();
  await browser?.close();
  await setu?.stop();
});

for (const colorScheme of SCHEMES) {
  test(`the connectivity check, ${colorScheme}`, async () => {
    const page = await open('/check', colorScheme);
    await page.waitForFunction(() => window.setuCheck, null, { timeout: PATIENCE_MS });
    await take(page, `check-${colorScheme}`);
  });
}

test('the dashboard, light and dark', async () => {
  const asha = await openCall(browser, setu.origin, { session: 'evening-circle', name: 'Asha Rao', relay: 1, transport: 'udp', join: 1 });
  await openCall(browser, setu.origin, { session: 'evening-circle', name: 'Ben', relay: 1, transport: 'tcp', join: 1 });
  await asha.connectedWith(1);
  const pages = await Promise.all(SCHEMES.map((colorScheme) => open('/dashboard', colorScheme)));
  for (const [index, page] of pages.entries()) {
    // Charts of half a minute are charts.
    await page.waitForFunction(() => window.setuDashboard.seconds > 30, null, { timeout: 60_000 });
    await take(page, `dashboard-${SCHEMES[index]}`);
  }
});

test('the README shows what is taken here', () => {
  const readme = readFileSync(resolve(ROOT, 'README.md'), 'utf8');
  const shown = [...readme.matchAll(/docs\/images\/([\w-]+\.png)/g)].map(([, name]) => name);
  assert.ok(shown.length > 0);
  const kept = new Set(readdirSync(KEPT));
  const taken = new Set(readdirSync(TAKEN));
  for (const name of shown) assert.ok(kept.has(name) && taken.has(name), name);
});

async function open(path, colorScheme) {
  const context = await browser.newContext({ viewport: VIEWPORT, colorScheme, reducedMotion: 'reduce' });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  await page.goto(`${setu.origin}${path}`);
  return page;
}

/** A picture that shows something: many colours, and no single one nearly everywhere. */
async function take(page, name) {
  const png = await page.screenshot({ path: resolve(TAKEN, `${name}.png`) });
  const { colours, commonest } = await page.evaluate(tally, png.toString('base64'));
  assert.ok(colours > 100 && commonest < 0.9, `${name} is blank: ${colours} colours, one on ${commonest} of it`);
}

async function tally(base64) {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  const bitmap = await createImageBitmap(new Blob([bytes], { type: 'image/png' }));
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext('2d');
  context.drawImage(bitmap, 0, 0);
  const pixels = new Uint32Array(context.getImageData(0, 0, bitmap.width, bitmap.height).data.buffer);
  const counts = new Map();
  for (const pixel of pixels) counts.set(pixel, (counts.get(pixel) ?? 0) + 1);
  return { colours: counts.size, commonest: Math.max(...counts.values()) / pixels.length };
}

async function populate() {
  const joined = [];
  for (const [sessionId, names] of Object.entries(SESSIONS)) {
    // One after the other: the order is shown.
    for (const [index, participantName] of names.entries()) {
      const socket = await join(setu, { sessionId, participantId: `${sessionId}-${index}`, participantName });
      if (index === 1) socket.emit('start-session-timer', { sessionId, duration: 1800 + 300 * names.length });
      joined.push(socket);
    }
  }
  return joined;
}
