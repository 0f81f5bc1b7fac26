// The page itself: self-contained, well laid out in every size and scheme, usable by keyboard.

import { after, afterEach, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { seriousFindings } from './support/axe.js';
import { closePages, launchChromium, openCall } from './support/chromium.js';
import { fits, SCHEMES, SIZES, tabTo } from './support/look.js';
import { startSetu } from './support/setu.js';

const WEB = resolve(import.meta.dirname, '../../web');
const NAMES = ['Asha Rao', 'Ben', 'Chitra Menon', 'Dāmodara'];

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

test('the vendored Socket.IO client is the npm package, byte for byte', () => {
  const npm = resolve(import.meta.dirname, 'node_modules/socket.io-client');
  const vendored = (file) => readFileSync(resolve(WEB, 'vendor', file));
  assert.deepEqual(vendored('socket.io.esm.min.js'), readFileSync(resolve(npm, 'dist/socket.io.esm.min.js')));
  assert.deepEqual(vendored('socket.io-client.LICENSE'), readFileSync(resolve(npm, 'LICENSE')));
});

test('no file of ours names an outside address', () => {
  const files = readdirSync(WEB, { recursive: true }).filter((name) => /\.(html|css|js)$/.test(name) && !name.startsWith('vendor'));
  for (const file of files) {
    assert.doesNotMatch(readFileSync(resolve(WEB, file), 'utf8').replaceAll('http://www.w3.org/', ''), /https?:\/\/[a-z]/, file);
  }
});

test('every file the page loads is served as what it is, under a policy that admits nothing else', async () => {
  const page = await fetch(`http://127.0.0.1:${setu.port}/`);
  assert.match(page.headers.get('content-type'), /^text\/html/);
  const policy = page.headers.get('content-security-policy');
  assert.match(policy, /default-src 'self'/);
  assert.doesNotMatch(policy, /unsafe/);
  const types = { js: /javascript/, css: /^text\/css/, svg: /^image\/svg\+xml/ };
  for (const file of readdirSync(WEB, { recursive: true }).filter((name) => types[name.split('.').at(-1)])) {
    const asset = await fetch(`http://127.0.0.1:${setu.port}/assets/${file}`);
    assert.equal(asset.status, 200, file);
    assert.match(asset.headers.get('content-type'), types[file.split('.').at(-1)], file);
  }
});

for (const viewport of SIZES) {
  for (const colorScheme of SCHEMES) {
    const name = `${viewport.width}-${colorScheme}`;
    test(`lobby and call fit a ${viewport.width} px screen, ${colorScheme}`, async () => {
      const context = { viewport, colorScheme, reducedMotion: 'reduce' };
      const asha = await openCall(browser, setu.origin, { session: `look-${name}`, name: NAMES[0], relay: 1 }, { context });
      await asha.page.locator('#preview').waitFor();
      await fits(asha.page, `lobby-${name}`);
      assert.deepEqual(await seriousFindings(asha.page), []);
      await asha.page.getByRole('button', { name: 'Join' }).click();
      await asha.page.getByText('You’re the only one here.').waitFor();
      await fits(asha.page, `call-1-${name}`);

      const others = [];
      for (const other of NAMES.slice(1)) {
        others.push(await openCall(browser, setu.origin, { session: `look-${name}`, name: other, relay: 1, transport: 'udp', join: 1 }));
        await asha.connectedWith(others.length);
        if (others.length === 1) await fits(asha.page, `call-2-${name}`);
      }
      await others[0].page.getByRole('group', { name: 'Call controls' }).getByRole('button', { name: 'Microphone' }).click();
      await others[1].page.getByRole('group', { name: 'Call controls' }).getByRole('button', { name: 'Camera' }).click();
      await asha.page.locator('.tile-muted:not([hidden])').waitFor();
      await fits(asha.page, `call-4-${name}`);
      assert.deepEqual(await seriousFindings(asha.page), []);
      await asha.page.getByRole('button', { name: 'Connection' }).click();
      await fits(asha.page, `connection-${name}`);
      assert.deepEqual([asha, ...others].flatMap((page) => page.complaints), []);
    });
  }
}

test('a call can be joined, muted and left with the keyboard alone', async () => {
  const asha = await openCall(browser, setu.origin, { session: 'keys', name: 'Asha' });
  await asha.page.locator('#preview').waitFor();
  await asha.page.getByLabel('Your name').focus();
  await asha.page.keyboard.press('Enter');
  await asha.page.getByText('You’re the only one here.').waitFor();
  const microphone = asha.page.getByRole('group', { name: 'Call controls' }).getByRole('button', { name: 'Microphone' });
  await tabTo(asha.page, microphone);
  await asha.page.keyboard.press('Space');
  await asha.page.waitForFunction(() => document.querySelector('.dock [data-toggle=microphone]').ariaPressed === 'false');
  await tabTo(asha.page, asha.page.getByRole('button', { name: 'Leave' }));
  await asha.page.keyboard.press('Enter');
  await asha.page.getByRole('button', { name: 'Join' }).waitFor();
});
