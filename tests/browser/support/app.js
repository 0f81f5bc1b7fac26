// The application: pages on an origin of their own, whose clients talk to Setu from there.

import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { resolve } from 'node:path';
import { eventually } from './call.js';
import { PATIENCE_MS } from './chromium.js';

const PAGES = resolve(import.meta.dirname, 'app');
const LIBRARY = resolve(import.meta.dirname, '../node_modules/socket.io-client/dist/socket.io.js');
const FILES = { '/': 'page.html', ...Object.fromEntries(['page', 'reading', 'video', 'plain'].map((name) => [`/${name}.js`, `${name}.js`])) };

export async function startApp() {
  const server = createServer(({ url }, response) => {
    const { pathname } = new URL(url, 'http://localhost');
    const file = pathname === '/socket.io.js' ? LIBRARY : FILES[pathname] && resolve(PAGES, FILES[pathname]);
    response.setHeader('content-type', pathname === '/' ? 'text/html' : 'text/javascript');
    response.writeHead(file ? 200 : 404).end(file && readFileSync(file));
  });
  server.listen(0, 'localhost');
  await once(server, 'listening');
  return {
    origin: `http://localhost:${server.address().port}`,

    stop() {
      server.closeAllConnections();
      server.close();
    },
  };
}

/** Opens the application's page in a profile of its own. `query`: server, session, id, name, clients, ice. */
export async function openPage(browser, origin, query) {
  const context = await browser.newContext();
  const page = await context.newPage();
  const app = new AppPage(page);
  await page.goto(`${origin}/?${new URLSearchParams(query)}`);
  return app;
}

class AppPage {
  /** Console errors and exceptions: a good page has none. */
  complaints = [];

  constructor(page) {
    this.page = page;
    page.setDefaultTimeout(PATIENCE_MS);
    page.on('pageerror', (error) => this.complaints.push(`exception: ${error.message}`));
    page.on('console', (message) => message.type() === 'error' && this.complaints.push(`console: ${message.text()}`));
  }

  /** What the reading client shows. */
  state() { return this.page.evaluate(() => window.reading.state()); }

  /** Has a client do something. */
  has(client, deed, ...words) {
    return this.page.evaluate(([client, deed, words]) => window[client][deed](...words), [client, deed, words]);
  }

  /**
   * A person grants the camera when the other clients of the page have long joined, and the `others` have offered in
   * vain to each of these: so many `before` the video's.
   */
  async grantCamera(others, before = 1) {
    const id = new URL(this.page.url()).searchParams.get('id');
    const offered = (other) => () => other.page.evaluate((words) => window.video.hasOffered(...words), [id, before]);
    await Promise.all(others.map((other) => eventually(offered(other), Boolean, PATIENCE_MS)));
    await this.page.evaluate(() => window.grantCamera());
    await this.page.waitForFunction(() => window.video.isMember);
  }

  /** Waits until the state holds all of `wanted`. */
  shows(wanted) {
    const same = (state) => Object.entries(wanted).every(([key, value]) => JSON.stringify(state[key]) === JSON.stringify(value));
    return eventually(() => this.state(), same, PATIENCE_MS);
  }

  /** Waits until the pictures of exactly these others move. */
  async sees(...others) {
    const wanted = [...others].sort().join();
    const frames = () => this.page.evaluate(() => window.video.frames());
    const complete = (seen) => Object.keys(seen).sort().join() === wanted && Object.values(seen).every((count) => count > 0);
    const before = await eventually(frames, complete, PATIENCE_MS);
    const move = (seen) => complete(seen) && others.every((other) => seen[other] > before[other]);
    await eventually(frames, move, PATIENCE_MS);
  }

  errors() { return this.page.evaluate(() => window.errors); }
}
