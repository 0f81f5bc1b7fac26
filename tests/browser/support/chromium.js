// Call pages in Debian's Chromium, each in a profile of its own, with a fake camera and microphone.

import { existsSync } from 'node:fs';
import { chromium } from 'playwright-core';
import { eventually } from './call.js';

const PROGRAM = '/usr/bin/chromium';
const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--use-fake-device-for-media-stream',
  '--use-fake-ui-for-media-stream',
];

export const PATIENCE_MS = 30_000;

/**
 * TURN over TLS is checked like any other TLS, and the test's server makes its own certificate at its start:
 * `trustEveryCertificate` lets Chromium accept it.
 */
export async function launchChromium({ trustEveryCertificate = true } = {}) {
  if (!existsSync(PROGRAM)) throw new Error(`${PROGRAM} is missing: apt-get install -y chromium`);
  return chromium.launch({ executablePath: PROGRAM, headless: true, args: trustEveryCertificate ? [...FLAGS, '--ignore-certificate-errors'] : FLAGS });
}

/**
 * Opens the call page. `query` becomes the address (session, name, relay, transport, join);
 * `context` are Playwright's context options; `script` runs before the page's own.
 */
export async function openCall(browser, origin, query, { context: options, script } = {}) {
  const context = await browser.newContext({ viewport: { width: 800, height: 600 }, ...options });
  await context.addInitScript(shrinkCamera);
  if (script) await context.addInitScript(script);
  const page = await context.newPage();
  const call = new CallPage(context, page, origin);
  await page.goto(`${origin}/?${new URLSearchParams(query)}`);
  return call;
}

/** Closes whatever pages a test has left open. */
export async function closePages(browser) {
  await Promise.all(browser.contexts().map((context) => context.close()));
}

/** Console errors, exceptions, failed and outside requests, as they come: a good page has none. */
export function complaintsOf(page, origin) {
  const complaints = [];
  page.on('pageerror', (error) => complaints.push(`exception: ${error.message}`));
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) complaints.push(`console: ${message.text()}`);
  });
  page.on('request', (request) => {
    if (!request.url().startsWith(origin)) complaints.push(`outside request: ${request.url()}`);
  });
  page.on('response', (response) => {
    if (response.status() >= 400) complaints.push(`${response.status()}: ${response.url()}`);
  });
  return complaints;
}

export class CallPage {
  constructor(context, page, origin) {
    this.context = context;
    this.page = page;
    page.setDefaultTimeout(PATIENCE_MS);
    this.complaints = complaintsOf(page, origin);
  }

  peers() {
    return this.page.evaluate(() => window.setu.peers());
  }

  participantId() {
    return this.page.evaluate(() => window.setu.participantId);
  }

  /** Waits until the page is connected with exactly `count` others and sees moving pictures of all. */
  async connectedWith(count) {
    try {
      await this.page.waitForFunction(everyoneMoves, count, { polling: 250 });
    } catch {
      throw new Error(`not connected with ${count}: ${JSON.stringify(await this.peers())} ${this.complaints.join('; ')}`);
    }
  }

  /** Waits until `holds` accepts what `setu.peers()` says. */
  peersAre(holds) {
    return eventually(() => this.peers(), holds, PATIENCE_MS);
  }

  async leave() {
    await this.page.getByRole('button', { name: 'Leave' }).click();
    await this.page.getByRole('button', { name: 'Join' }).waitFor();
  }

  close() {
    return this.context.close();
  }
}

function everyoneMoves(count) {
  const peers = window.setu?.peers() ?? [];
  return peers.length === count
    && peers.every((peer) => peer.state === 'connected' && peer.pair !== null && peer.framesDecoded > 5);
}

// Encoding and decoding dozens of streams is not what is tested: a small, slow picture will do.
function shrinkCamera() {
  const { mediaDevices } = navigator;
  const getUserMedia = mediaDevices.getUserMedia.bind(mediaDevices);
  mediaDevices.getUserMedia = (wanted) => getUserMedia({
    ...wanted,
    video: wanted.video && { width: 160, height: 120, frameRate: 8 },
  });
}
