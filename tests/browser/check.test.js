// The connectivity check in real browsers, against servers that work and servers that don't.

import { after, afterEach, before, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { seriousFindings } from './support/axe.js';
import { eventually } from './support/call.js';
import { closePages, complaintsOf, launchChromium, PATIENCE_MS } from './support/chromium.js';
import { launchFirefox } from './support/firefox.js';
import { fits, SCHEMES, SIZES, tabTo } from './support/look.js';
import { startSetu } from './support/setu.js';

const JWT_SECRET = 'a secret of thirty-two bytes, or more';
/** A browser gives a silent port up after ten to fifteen seconds. */
const CHECK_PATIENCE_MS = 60_000;

let browser;
let setu;

before(async () => { browser = await launchChromium(); });
after(() => browser?.close());
afterEach(() => closePages(browser));

async function serve(environment) {
  setu = await startSetu(environment);
}

describe('where everything works', () => {
  before(() => serve({}));
  after(() => setu.stop());

  for (const viewport of SIZES) {
    for (const colorScheme of SCHEMES) {
      test(`it says so, on ${viewport.width} px, ${colorScheme}`, async () => {
        const page = await openCheck({ viewport, colorScheme, reducedMotion: 'reduce' });
        const { verdict, probes, reached } = await done(page);
        assert.equal(verdict.level, 'good', verdict.title);
        assert.ok(reached);
        assert.match(verdict.title, /^Calls work from here/);
        assert.deepEqual(probes.map(({ kind }) => kind), ['stun', 'udp', 'tcp', 'tls']);
        for (const { kind, loop } of probes.slice(1)) {
          assert.ok(loop.works && loop.over === kind && loop.bytes === 262_144, `${kind}: ${JSON.stringify(loop)}`);
        }
        assert.match(await page.locator('#ways').innerText(), /Works over WebSocket/);
        await page.locator('.way-more:not([hidden]) summary').first().click();
        await fits(page, `check-${viewport.width}-${colorScheme}`);
        assert.deepEqual(await seriousFindings(page), []);
        assert.deepEqual(page.complaints, []);
      });
    }
  }

  test('nothing is left of it on the relay', async () => {
    await done(await openCheck());
    await closePages(browser);
    await eventually(() => setu.health(), ({ relay }) => relay.allocations === 0, PATIENCE_MS);
  });

  test('the keyboard opens details, copies the report and checks again', async () => {
    const page = await openCheck({ permissions: ['clipboard-read', 'clipboard-write'] });
    await done(page);
    await tabTo(page, page.getByRole('button', { name: 'Copy report' }));
    await page.keyboard.press('Enter');
    await page.getByText('Report copied').waitFor();
    const report = await page.evaluate(() => navigator.clipboard.readText());
    assert.match(report, /GOOD: Calls work from here\./);
    assert.match(report, /turn:\S+\?transport=udp: works/);
    assert.doesNotMatch(report, /credential|:check-/);
    await tabTo(page, page.locator('.way-more:not([hidden]) summary').first());
    await page.keyboard.press('Enter');
    assert.ok(await page.locator('.way-more:not([hidden])').first().evaluate((details) => details.open));
    await page.getByRole('button', { name: 'Check again' }).focus();
    await page.keyboard.press('Enter');
    assert.equal((await done(page)).verdict.level, 'good');
  });

  test('credentials that the relay does not accept are told from a closed port', async () => {
    const page = await openCheck({}, (context) => context.route('**/ice-servers*', async (route) => {
      const response = await route.fetch();
      const body = await response.json();
      for (const server of body.iceServers) if (server.credential) server.credential = 'signed with another secret';
      await route.fulfill({ response, json: body });
    }));
    const { verdict } = await done(page);
    assert.equal(verdict.level, 'bad');
    assert.equal(verdict.title, 'The relay refuses the credentials.');
    assert.match(verdict.text, /another secret \(credentials\.secret\)/);
    await fits(page, 'check-refused');
  });

  test('ports that nobody listens on are named', async () => {
    const page = await openCheck({}, (context) => context.route('**/ice-servers*', async (route) => {
      const response = await route.fetch();
      const body = await response.json();
      for (const server of body.iceServers) server.urls = server.urls.map((url) => url.replace(/:\d+(?=\?|$)/, ':9'));
      await route.fulfill({ response, json: body });
    }));
    const { verdict } = await done(page);
    assert.equal(verdict.level, 'bad');
    assert.match(verdict.title, /^Nothing works/);
    assert.match(verdict.text, /9\/udp and 9\/tcp are closed between you and the server/);
    await fits(page, 'check-nothing');
  });

  test('a browser without WebRTC is told so', async () => {
    const page = await openCheck({}, (context) => context.addInitScript(() => { delete window.RTCPeerConnection; }));
    assert.equal((await done(page)).verdict.title, 'This browser makes no calls.');
  });

  test('Firefox checks too', async () => {
    const firefox = await launchFirefox();
    try {
      const page = await firefox.newPage();
      await page.goto(`${setu.origin}/check`);
      const { verdict, probes } = await eventually(() => page.evaluate(() => window.setuCheck), Boolean, CHECK_PATIENCE_MS);
      assert.equal(verdict.level, 'good', JSON.stringify(verdict));
      const works = probes.filter(({ loop }) => loop?.works).map(({ kind }) => kind);
      // Firefox asks a certificate authority, and this server made its certificate itself.
      assert.deepEqual(works, ['udp', 'tcp']);
    } finally {
      await firefox.close();
    }
  });
});

describe('where UDP is off', () => {
  before(() => serve({ SETU_TURN__LISTEN_UDP: '' }));
  after(() => setu.stop());

  test('calls work over TCP', async () => {
    const page = await openCheck();
    const { verdict } = await done(page);
    assert.equal(verdict.level, 'fair');
    assert.match(verdict.title, /no relay over UDP; calls work over TCP/);
    assert.match(verdict.text, /turn\.listen_udp/);
    await fits(page, 'check-no-udp');
    assert.deepEqual(await seriousFindings(page), []);
  });
});

describe('where there is TLS alone', () => {
  before(() => serve({ SETU_TURN__LISTEN_UDP: '', SETU_TURN__LISTEN_TCP: '' }));
  after(() => setu.stop());

  test('calls work over TLS', async () => {
    const { verdict } = await done(await openCheck());
    assert.match(verdict.title, /calls work over TLS/);
  });

  test('a certificate that the browser refuses is thought of', async () => {
    const strict = await launchChromium({ trustEveryCertificate: false });
    try {
      const page = await openCheck({}, undefined, strict);
      const { verdict, probes } = await done(page);
      assert.equal(verdict.level, 'bad', verdict.title);
      assert.equal(probes[0].kind, 'tls');
    } finally {
      await strict.close();
    }
  });
});

describe('where a token is needed', () => {
  before(() => serve({ SETU_ACCESS__MODE: 'token', SETU_ACCESS__JWT_SECRET: JWT_SECRET, SETU_HTTP__ADMIN_TOKEN: 'the-administrator-of-these-tests' }));
  after(() => setu.stop());

  test('it is asked for, and a wrong one is refused in words', async () => {
    const page = await openCheck({ viewport: SIZES[0] });
    const field = page.getByLabel('Access token');
    await field.waitFor();
    await fits(page, 'check-token');
    assert.deepEqual(await seriousFindings(page), []);
    await field.fill('nonsense');
    await page.keyboard.press('Enter');
    await page.locator('#token-problem:not([hidden])').waitFor();
    await field.fill(jwt({ sub: 'asha', exp: Math.floor(Date.now() / 1000) + 600 }));
    await page.keyboard.press('Enter');
    assert.equal((await done(page)).verdict.level, 'good');
  });

  test('the administrator’s does too', async () => {
    const page = await openCheck();
    await page.getByLabel('Access token').fill('the-administrator-of-these-tests');
    await page.keyboard.press('Enter');
    assert.equal((await done(page)).verdict.level, 'good');
  });
});

async function openCheck(options = {}, prepare, from = browser) {
  const context = await from.newContext({ viewport: SIZES[1], ...options });
  await prepare?.(context);
  const page = await context.newPage();
  page.complaints = complaintsOf(page, setu.origin);
  await page.goto(`${setu.origin}/check`);
  return page;
}

async function done(page) {
  await page.waitForFunction(() => window.setuCheck, null, { timeout: CHECK_PATIENCE_MS });
  return page.evaluate(() => window.setuCheck);
}

function jwt(claims) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const signed = `${part({ alg: 'HS256', typ: 'JWT' })}.${part(claims)}`;
  return `${signed}.${createHmac('sha256', JWT_SECRET).update(signed).digest('base64url')}`;
}
