// The connectivity check: asks for credentials, tries every URL, and says what came of it.
//
// window.setuCheck, for tests and curious people with a console, only to be read: null until the check is done,
// then { verdict, probes, reached, signaling }, as in verdict.js.

import { toast } from '../notices.js';
import { randomId } from '../peer.js';
import { gather, kindOf, loop, reach } from './probe.js';
import { report } from './report.js';
import { checkSignaling } from './signaling.js';
import { outcome, verdict } from './verdict.js';
import { Way } from './way.js';

const $ = (id) => document.getElementById(id);
const RUNNING = { title: $('title').textContent, text: $('text').textContent };
let token = '';
let text = '';

$('again').addEventListener('click', () => run());
$('token-form').addEventListener('submit', (event) => {
  event.preventDefault();
  token = $('token').value.trim();
  if (token) run();
});
for (const button of document.querySelectorAll('[data-copy]')) button.addEventListener('click', copy);
window.setuCheck = null;
run();

async function run() {
  window.setuCheck = null;
  begin();
  if (!('RTCPeerConnection' in window)) {
    return stop('This browser makes no calls.', 'WebRTC is missing or switched off in it: by a setting, an extension, or because the page is shown inside an app.');
  }
  const signaling = watchSignaling();
  const asked = await askForServers();
  if (asked.tokenProblem !== undefined) return askForToken(asked.tokenProblem);
  if (asked.problem) return stop('The check cannot begin.', asked.problem);
  const probes = await tryAll(asked.servers);
  const reached = await tryFromOutside(asked.servers, probes);
  finish({ probes, reached, signaling: await signaling, page: { host: location.hostname } });
}

/** One RTCIceServer for each URL. */
async function askForServers() {
  const named = `?participantId=check-${randomId()}`;
  // A token says whose it is; only an administrator's does not.
  const answer = await ask(token ? '' : named);
  return readServers(token && answer.status === 400 ? await ask(named) : answer);
}

async function ask(query) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  try {
    const response = await fetch(`/ice-servers${query}`, { headers, cache: 'no-store' });
    const body = await response.json().catch(() => null);
    return { status: response.status, body, retryAfter: response.headers.get('Retry-After') };
  } catch {
    return { status: 0, body: null };
  }
}

function readServers({ status, body, retryAfter }) {
  if (status === 0) return { problem: 'This server does not answer. Is it still running?' };
  if (status === 401) return { tokenProblem: token ? (body?.error?.message ?? 'The server refuses this token.') : '' };
  if (status === 429) return { problem: `Too many checks from your address in a minute. Try again in ${retryAfter ?? 60} seconds.` };
  if (status !== 200 || !Array.isArray(body?.iceServers)) return { problem: body?.error?.message ?? `The server answers with ${status}: is a proxy in between?` };
  return { servers: body.iceServers.flatMap(({ urls, ...rest }) => [urls].flat().map((url) => ({ ...rest, urls: url }))) };
}

/** Gathers over all URLs at once, then calls through one after the other: no call disturbs another. */
async function tryAll(servers) {
  const tried = servers.map((server) => ({ server, way: new Way($('ways'), $('way-template'), kindOf(server.urls), server.urls) }));
  const probes = await Promise.all(tried.map(async ({ server, way }) => {
    way.run('Asking for an address…');
    const probe = await gather(server).catch((error) => ({
      kind: kindOf(server.urls), url: server.urls, gathered: 'failed', candidates: [], errors: [{ code: 0, text: error.message }], loop: null,
    }));
    const isRelay = probe.kind !== 'stun' && probe.gathered === 'found';
    if (isRelay) way.run('It gave an address. A call through it comes next…');
    else way.show(probe);
    return probe;
  }));
  for (const [index, { server, way }] of tried.entries()) {
    const probe = probes[index];
    if (probe.kind === 'stun' || probe.gathered !== 'found') continue;
    way.run('Calling this page through it…');
    probe.loop = await loop(server);
    way.show(probe);
  }
  return probes;
}

/** Null where UDP does not pass anyway. */
async function tryFromOutside(servers, probes) {
  const relay = probes.findIndex((probe) => probe.kind === 'udp' && outcome(probe) === 'works');
  if (relay === -1) return null;
  const way = new Way($('ways'), $('way-template'), 'outside', 'called without a relay of one’s own');
  way.run('Calling the relay’s address from outside…');
  const reached = await reach(servers[relay], servers.find(({ urls }) => kindOf(urls) === 'stun'));
  way.showOutside(reached);
  return reached;
}

async function watchSignaling() {
  const way = new Way($('ways'), $('way-template'), 'signaling', `${location.host}/socket.io/`);
  way.run('Connecting…');
  const signaling = await checkSignaling();
  way.showSignaling(signaling);
  return signaling;
}

// ---- what the page shows

function begin() {
  show('running', RUNNING.title, RUNNING.text);
  $('ways').replaceChildren();
  $('points').replaceChildren();
  $('actions').hidden = true;
  $('token-form').hidden = true;
  $('report-section').hidden = true;
  $('evidence').hidden = false;
}

function finish(findings) {
  const said = verdict(findings);
  show(said.level, said.title, said.text);
  $('points').replaceChildren(...said.points.map(point));
  $('actions').hidden = false;
  text = report({
    ...findings,
    at: new Date().toISOString(),
    page: { origin: location.origin, browser: navigator.userAgent },
    verdict: said,
  });
  $('report').textContent = text;
  $('report-section').hidden = false;
  $('said').textContent = `${said.title} ${said.text}`;
  window.setuCheck = { verdict: said, ...findings };
}

function stop(title, why) {
  show('bad', title, why);
  $('evidence').hidden = true;
  $('actions').hidden = false;
  text = `Setu connectivity check\n${title}\n${why}\n`;
  $('said').textContent = `${title} ${why}`;
  window.setuCheck = { verdict: { level: 'bad', title, text: why, points: [] }, probes: [], reached: null, signaling: null };
}

function askForToken(problem) {
  show('waiting', 'Who is asking?', '');
  $('evidence').hidden = true;
  $('token-form').hidden = false;
  $('token-problem').hidden = problem === '';
  $('token-problem').textContent = problem;
  $('token').select();
  $('token').focus();
}

function show(level, title, why) {
  $('check').dataset.level = level;
  $('title').textContent = title;
  $('text').textContent = why;
  $('text').hidden = why === '';
}

function point({ level, text: words }) {
  const item = document.createElement('li');
  item.dataset.level = level;
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  const use = document.createElementNS('http://www.w3.org/2000/svg', 'use');
  use.setAttribute('href', `#i-${level}`);
  svg.append(use);
  svg.setAttribute('aria-hidden', 'true');
  const span = document.createElement('span');
  span.textContent = words;
  item.append(svg, span);
  return item;
}

async function copy() {
  try {
    await navigator.clipboard.writeText(text);
    toast('Report copied');
  } catch {
    // No clipboard over plain HTTP: mark it, so that a key or a long press copies it.
    getSelection().selectAllChildren($('report'));
    toast('Marked below: copy it with your keyboard or menu.');
  }
}
