// The dashboard in real browsers: what it shows, what it ends, and what it says when something is wrong.

import { after, afterEach, before, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { ceiling } from '../../web/dashboard/charts.js';
import { age, bits, bytes, clock, counted } from '../../web/dashboard/words.js';
import { seriousFindings } from './support/axe.js';
import { eventually } from './support/call.js';
import { closePages, complaintsOf, launchChromium, openCall, PATIENCE_MS } from './support/chromium.js';
import { launchFirefox } from './support/firefox.js';
import { join } from './support/joined.js';
import { fits, SCHEMES, SIZES, tabTo } from './support/look.js';
import { startProxy } from './support/proxy.js';
import { startSetu } from './support/setu.js';

const TOKEN = 'the-administrator-of-these-tests';
const NAMES = ['Asha Rao', 'Ben', 'Chitra Menon', 'Dāmodara', 'Esi'];

let browser;
let setu;

before(async () => { browser = await launchChromium(); });
after(() => browser?.close());
afterEach(() => closePages(browser));

test('numbers are written as people read them', () => {
  assert.deepEqual([0, 512, 12_400, 999_960, 1_250_000, 123_456_789].map(bits), ['0', '512 bit/s', '12.4 kbit/s', '1 Mbit/s', '1.3 Mbit/s', '123 Mbit/s']);
  assert.deepEqual([0, 999, 3_400_000].map(bytes), ['0', '999 bytes', '3.4 MB']);
  assert.deepEqual([5, 600, 7200, 200_000].map(age), ['5 s', '10 min', '2 h', '2 d']);
  assert.deepEqual([5, 245, 3600].map(clock), ['0:05', '4:05', '1:00:00']);
  assert.deepEqual([counted(1, 'person', 'people'), counted(1200, 'person', 'people')], ['1 person', '1,200 people']);
  assert.deepEqual([0, 3, 12, 50, 51, 780_000].map(ceiling), [1, 5, 20, 50, 100, 1_000_000]);
});

describe('on one’s own machine, without a token', () => {
  before(async () => { setu = await startSetu(); });
  after(() => setu.stop());

  test('nobody is there', async () => {
    const page = await openDashboard({ viewport: SIZES[0] });
    await page.getByText('Nobody is here.').waitFor();
    await fits(page, 'dashboard-empty');
    assert.deepEqual(await seriousFindings(page), []);
    assert.deepEqual(page.complaints, []);
  });

  test('a relayed call is seen, and removing a participant ends their call', async () => {
    const asha = await openCall(browser, setu.origin, { session: 'evening', name: 'Asha', relay: 1, transport: 'udp', join: 1 });
    const ben = await openCall(browser, setu.origin, { session: 'evening', name: 'Ben', relay: 1, transport: 'tcp', join: 1 });
    await asha.connectedWith(1);
    for (const viewport of SIZES) {
      for (const colorScheme of SCHEMES) {
        const page = await openDashboard({ viewport, colorScheme, reducedMotion: 'reduce' });
        await page.waitForFunction(() => window.setuDashboard.latest?.point[5] > 0);
        await page.locator('#sessions .row-open').waitFor();
        await fits(page, `dashboard-${viewport.width}-${colorScheme}`);
        assert.deepEqual(await seriousFindings(page), []);
        await page.locator('#sessions .row-open').click();
        await page.locator('.allocation').first().waitFor();
        await fits(page, `dashboard-session-${viewport.width}-${colorScheme}`);
        assert.deepEqual(await seriousFindings(page), []);
        assert.deepEqual(page.complaints, []);
        await page.context().close();
      }
    }

    const page = await openDashboard();
    await page.locator('#sessions .row-open').click();
    const person = page.locator('.person', { hasText: 'Ben' });
    await person.getByText('relay', { exact: true }).waitFor();
    assert.match(await person.innerText(), /TCP/);
    await person.getByRole('button', { name: 'Remove Ben' }).click();
    await page.getByRole('button', { name: 'Remove', exact: true }).click();
    await ben.page.getByText('You were removed from this session.').waitFor();
    await asha.peersAre((peers) => peers.length === 0);
    await person.waitFor({ state: 'detached' });

    await page.getByRole('button', { name: 'End session…' }).click();
    await fits(page, 'dashboard-confirm');
    await page.getByLabel('Reason').fill('It is late');
    await page.getByRole('button', { name: 'End session', exact: true }).click();
    await asha.page.getByText('The session has ended: It is late').waitFor();
    await page.getByText('This session has ended.').waitFor();
    await eventually(() => setu.health(), ({ relay }) => relay.allocations === 0, PATIENCE_MS);
  });

  test('an allocation is closed, with the keyboard alone', async () => {
    const asha = await openCall(browser, setu.origin, { session: 'morning', name: 'Asha', relay: 1, transport: 'udp', join: 1 });
    await openCall(browser, setu.origin, { session: 'morning', name: 'Ben', relay: 1, transport: 'udp', join: 1 });
    await asha.connectedWith(1);
    const page = await openDashboard();
    await tabTo(page, page.locator('[name=tab]').first());
    await page.keyboard.press('ArrowRight');
    await page.locator('#allocations tbody tr').nth(1).waitFor();
    await fits(page, 'dashboard-allocations');
    assert.deepEqual(await seriousFindings(page), []);
    const first = await page.evaluate(() => window.setuDashboard.latest.allocations.allocations[0].id);
    await tabTo(page, page.locator('#allocations tbody button').first());
    await page.keyboard.press('Enter');
    await page.getByRole('dialog').waitFor();
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await page.waitForFunction((id) => !window.setuDashboard.latest.allocations.allocations.some((one) => one.id === id), first);
  });

  test('a session is opened and closed with the keyboard, and the focus comes back', async () => {
    const sockets = await populate(2);
    const page = await openDashboard();
    const row = page.locator('#sessions .row-open').first();
    await tabTo(page, row);
    await page.keyboard.press('Enter');
    await page.locator('.person').first().waitFor();
    await page.keyboard.press('Escape');
    assert.ok(await row.evaluate((element) => element === document.activeElement));
    sockets.close();
  });

  test('with 1,000 sessions it stays quick, and finds one of them', async () => {
    const sockets = await populate(1000);
    const page = await openDashboard();
    await page.waitForFunction(() => window.setuDashboard.latest?.list.matching === 1000, null, { timeout: PATIENCE_MS });
    assert.equal(await page.locator('#sessions tbody tr').count(), 50);
    const bytesOfOne = await page.evaluate(() => JSON.stringify(window.setuDashboard.latest).length);
    assert.ok(bytesOfOne < 20_000, `${bytesOfOne} bytes a message`);
    await fits(page, 'dashboard-thousand');
    // No frame waits long, whatever arrives meanwhile.
    const longest = await page.evaluate(longestPause, 4_000);
    assert.ok(longest < 1_000, `the page stood still for ${longest} ms`);
    await page.getByRole('button', { name: 'Next page' }).click();
    await page.getByText('51–100 of 1,000').waitFor();
    await page.getByLabel('Search').fill('reading-0777');
    await page.waitForFunction(() => window.setuDashboard.latest.list.matching === 1);
    assert.equal(await page.locator('#sessions .row-open').innerText(), 'reading-0777');
    await page.getByLabel('Search').fill('nobody of this name');
    await page.getByText('No session matches.').waitFor();
    await fits(page, 'dashboard-no-match');
    sockets.close();
  });

  test('Firefox shows it too', async () => {
    const sockets = await populate(3);
    const firefox = await launchFirefox();
    try {
      const page = await firefox.newPage();
      await page.goto(`${setu.origin}/dashboard`);
      await eventually(() => page.evaluate(() => window.setuDashboard?.latest?.list.matching), (matching) => matching === 3, PATIENCE_MS);
      const read = () => page.evaluate(() => window.setuDashboard.latest.at);
      const first = await read();
      await eventually(read, (at) => at > first, PATIENCE_MS);
      assert.equal(await page.evaluate(() => document.querySelectorAll('#sessions tbody tr').length), 3);
    } finally {
      await firefox.close();
      sockets.close();
    }
  });

  test('a server that goes away is said to be gone, and is found again', async () => {
    const proxy = await startProxy(setu.port);
    const page = await openDashboard({}, proxy.origin);
    await page.waitForFunction(() => window.setuDashboard.state === 'live');
    proxy.goAway();
    await page.getByText(/The server does not answer/).waitFor();
    await fits(page, 'dashboard-lost');
    assert.deepEqual(await seriousFindings(page), []);
    proxy.comeBack();
    await page.waitForFunction(() => window.setuDashboard.state === 'live', null, { timeout: PATIENCE_MS });
    assert.ok(await page.locator('#banner').isHidden());
    await proxy.stop();
  });

  test('nothing is asked for again', async () => {
    const page = await openDashboard();
    await page.waitForFunction(() => window.setuDashboard.state === 'live');
    const asked = [];
    page.on('request', (request) => asked.push(request.url()));
    await page.waitForTimeout(2_500);
    assert.deepEqual(asked, [], 'what goes on is pushed, never asked for again');
  });
});

describe('elsewhere, with a token', () => {
  before(async () => { setu = await startSetu({ SETU_PROFILE: 'production', SETU_HTTP__ADMIN_TOKEN: TOKEN, SETU_STORE__REDIS_URL: 'redis://127.0.0.1:1' }); });
  after(() => setu.stop());

  test('it is asked for, kept in the tab, and in no address', async () => {
    const page = await openDashboard({ viewport: SIZES[0] });
    const field = page.getByLabel('Admin token');
    await field.waitFor();
    await fits(page, 'dashboard-door');
    assert.deepEqual(await seriousFindings(page), []);
    await field.fill('a guess');
    await page.keyboard.press('Enter');
    await page.getByText('This is not the server’s admin token.').waitFor();
    const asked = [];
    page.on('request', (request) => asked.push(request.url()));
    await field.fill(TOKEN);
    await page.keyboard.press('Enter');
    await page.waitForFunction(() => window.setuDashboard.state === 'live');
    await page.reload();
    await page.waitForFunction(() => window.setuDashboard.state === 'live');
    assert.ok(asked.every((url) => !url.includes(TOKEN)), asked.join(' '));

    await page.getByText(/Redis is away\. This node goes on alone/).waitFor();
    await fits(page, 'dashboard-degraded');
    assert.deepEqual(await seriousFindings(page), []);

    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.reload();
    await field.waitFor();
  });
});

async function openDashboard(options = {}, origin = setu.origin) {
  const context = await browser.newContext({ viewport: SIZES[1], ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  page.complaints = complaintsOf(page, origin);
  await page.goto(`${origin}/dashboard`);
  return page;
}

/** Sessions reading-0000 and so on, somebody in each, and in every third a timer. */
async function populate(sessions) {
  const sockets = [];
  const one = async (number) => {
    const sessionId = `reading-${String(number).padStart(4, '0')}`;
    const socket = await join(setu, { sessionId, participantId: `p${number}`, participantName: NAMES[number % NAMES.length] });
    sockets.push(socket);
    if (number % 3 === 0) socket.emit('start-session-timer', { sessionId, duration: 600 + number });
  };
  for (let first = 0; first < sessions; first += 50) {
    await Promise.all(Array.from({ length: Math.min(50, sessions - first) }, (_, index) => one(first + index)));
  }
  return { close: () => sockets.forEach((socket) => socket.disconnect()) };
}

/** The longest time between two frames. */
async function longestPause(forMs) {
  const begun = performance.now();
  let [last, longest] = [begun, 0];
  while (last - begun < forMs) {
    const now = await new Promise((frame) => requestAnimationFrame(frame));
    longest = Math.max(longest, now - last);
    last = now;
  }
  return Math.round(longest);
}
