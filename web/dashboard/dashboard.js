// The dashboard: opens the door, watches, and shows what the server tells.
//
// window.setuDashboard, for tests and curious people with a console, only to be read:
//   { state: 'door' | 'waiting' | 'live' | 'lost', latest: the latest message or null,
//     seconds: for how long the charts know what was }

import { toast } from '../notices.js';
import { Actions } from './actions.js';
import { forgetToken, keepToken, keptToken } from './door.js';
import { Figures } from './figures.js';
import { List } from './list.js';
import { Live } from './live.js';
import { Nodes } from './nodes.js';
import { SessionDrawer } from './session.js';

const $ = (id) => document.getElementById(id);
let token = keptToken();
let state = 'waiting';
let latest = null;
let lostAt = null;

const actions = new Actions({ token: () => token, closedOut: showDoor });
const drawer = new SessionDrawer(actions, watchAnew);
const list = new List({ changed: watchAnew, open: (id) => drawer.open(id), close: (allocation) => actions.closeAllocation(allocation) });
const figures = new Figures();
const nodes = new Nodes();
const live = new Live({ message, lost, refused });

$('door-form').addEventListener('submit', (event) => {
  event.preventDefault();
  token = $('token').value.trim();
  if (token) watch();
});
$('sign-out').addEventListener('click', () => {
  forgetToken();
  token = '';
  showDoor('');
});
window.setuDashboard = Object.freeze({
  get state() { return state; },
  get latest() { return latest; },
  get seconds() { return figures.seconds; },
});
watch();

function watch() {
  setState('waiting');
  live.open(token, query());
}

function watchAnew() {
  live.ask(query());
}

function query() {
  return new URLSearchParams({ ...list.query(), ...drawer.query() });
}

function message(data) {
  if (state !== 'live') {
    if (token) keepToken(token);
    $('door').hidden = true;
    $('board').hidden = false;
    $('sign-out').hidden = !token;
    setState('live');
  }
  latest = data;
  lostAt = null;
  figures.show(data);
  list.show(data);
  nodes.show(data);
  drawer.show(data);
  showBanner();
}

function lost() {
  lostAt ??= latest?.at ?? Date.now();
  setState('lost');
  showBanner();
}

function refused({ status, code, message: why }) {
  if (status !== 401) return toast(why, { problem: true });
  forgetToken();
  showDoor(code === 'TOKEN_REQUIRED' && !token ? '' : 'This is not the server’s admin token.');
}

function showDoor(problem) {
  live.close();
  drawer.close();
  setState('door');
  latest = null;
  $('board').hidden = true;
  $('sign-out').hidden = true;
  $('door').hidden = false;
  $('door-problem').textContent = problem;
  $('door-problem').hidden = problem === '';
  $('token').value = '';
  $('token').focus();
}

function setState(next) {
  state = next;
  document.body.dataset.state = next;
  const pill = $('pill-live');
  pill.dataset.state = { live: 'good', lost: 'bad' }[next] ?? 'waiting';
  pill.hidden = next === 'door';
  pill.textContent = { live: 'Live', lost: 'Reconnecting…', waiting: 'Connecting…' }[next] ?? '';
  if (next === 'door') for (const id of ['pill-redis', 'pill-nodes']) $(id).hidden = true;
}

function showBanner() {
  const draining = latest?.nodes[0]?.draining;
  const text = state === 'lost' ? `The server does not answer. Trying again by itself; ${latest ? `what you see is from ${new Date(lostAt).toLocaleTimeString()}` : 'nothing was heard of it yet'}.`
    : latest?.redis === 'away' ? 'Redis is away. This node goes on alone; what happens meanwhile is put together when it is back.'
      : draining ? 'This node is about to stop: it takes no new calls.' : '';
  $('banner').dataset.level = state === 'lost' ? 'bad' : 'fair';
  $('banner').hidden = text === '';
  // Read out once, not once a second.
  if ($('banner').textContent !== text) $('banner').textContent = text;
  // Nothing was ever seen: the banner alone says why the page is empty.
  if (state === 'lost' && !latest) $('board').hidden = false;
  document.body.classList.toggle('unseen', !latest);
}
