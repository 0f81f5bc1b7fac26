// The page itself: self-contained, well laid out in every size and scheme, usable by keyboard.

import { after, afterEach, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { closePages, launchChromium, openCall } from './support/chromium.js';
import { startSetu } from './support/setu.js';

const WEB = resolve(import.meta.dirname, '../../web');
const SCREENSHOTS = resolve(import.meta.dirname, 'screenshots');
const SIZES = [{ width: 390, height: 844 }, { width: 1440, height: 900 }];
const SCHEMES = ['light', 'dark'];
const NAMES = ['Asha Rao', 'Ben', 'Chitra Menon', 'Dāmodara'];

let setu;
let browser;

before(async () => {
  mkdirSync(SCREENSHOTS, { recursive: true });
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
  for (const file of readdirSync(WEB).filter((name) => /\.(html|css|js)$/.test(name))) {
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
  for (const file of [...readdirSync(WEB), 'vendor/socket.io.esm.min.js'].filter((name) => types[name.split('.').at(-1)])) {
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
      await fits(asha, `lobby-${name}`);
      await asha.page.getByRole('button', { name: 'Join' }).click();
      await asha.page.getByText('You’re the only one here.').waitFor();
      await fits(asha, `call-1-${name}`);

      const others = [];
      for (const other of NAMES.slice(1)) {
        others.push(await openCall(browser, setu.origin, { session: `look-${name}`, name: other, relay: 1, transport: 'udp', join: 1 }));
        await asha.connectedWith(others.length);
        if (others.length === 1) await fits(asha, `call-2-${name}`);
      }
      await others[0].page.getByRole('group', { name: 'Call controls' }).getByRole('button', { name: 'Microphone' }).click();
      await others[1].page.getByRole('group', { name: 'Call controls' }).getByRole('button', { name: 'Camera' }).click();
      await asha.page.locator('.tile-muted:not([hidden])').waitFor();
      await fits(asha, `call-4-${name}`);
      await asha.page.getByRole('button', { name: 'Connection' }).click();
      await fits(asha, `connection-${name}`);
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
  await tabTo(asha, microphone);
  await asha.page.keyboard.press('Space');
  await asha.page.waitForFunction(() => document.querySelector('.dock [data-toggle=microphone]').ariaPressed === 'false');
  await tabTo(asha, asha.page.getByRole('button', { name: 'Leave' }));
  await asha.page.keyboard.press('Enter');
  await asha.page.getByRole('button', { name: 'Join' }).waitFor();
});

/** Nothing sticks out to the side, every control is within reach; a screenshot for human eyes. */
async function fits({ page }, name) {
  await page.screenshot({ path: resolve(SCREENSHOTS, `${name}.png`) });
  const { wide, outside } = await page.evaluate(() => ({
    wide: document.documentElement.scrollWidth - innerWidth,
    outside: [...document.querySelectorAll('button, input, .tile')]
      .filter((element) => element.checkVisibility())
      .map((element) => ({ element, box: element.getBoundingClientRect() }))
      .filter(({ box }) => box.left < -1 || box.right > innerWidth + 1)
      .map(({ element }) => element.outerHTML.slice(0, 80)),
  }));
  assert.equal(wide, 0, `${name} scrolls sideways`);
  assert.deepEqual(outside, [], name);
}

async function tabTo({ page }, target) {
  for (let presses = 0; presses < 20; presses += 1) {
    if (await target.evaluate((element) => element === document.activeElement)) return;
    await page.keyboard.press('Tab');
  }
  assert.fail('not reachable with the Tab key');
}
