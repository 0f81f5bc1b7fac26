// Sessions or allocations: a page of them, searched and ordered by the server.

import { SESSIONS } from './point.js';
import { make, Rows, write } from './rows.js';
import { age, bits, count, timer, transport } from './words.js';

const $ = (id) => document.getElementById(id);
const PAGE = 50;
const TYPING_MS = 250;

export class List {
  #changed;
  #offset = 0;
  #tab = 'sessions';
  #typing;
  #sessions;
  #allocations;

  /** `changed()`: something else is wanted. `open(sessionId)`, `close(allocation)`: asked for. */
  constructor({ changed, open, close }) {
    this.#changed = changed;
    this.#sessions = new Rows($('sessions').tBodies[0], (item) => createSession(item, open));
    this.#allocations = new Rows($('allocations').tBodies[0], (item) => createAllocation(item, close));
    $('search').addEventListener('input', () => {
      clearTimeout(this.#typing);
      this.#typing = setTimeout(() => this.#turn(0), TYPING_MS);
    });
    $('sort').addEventListener('change', () => this.#turn(0));
    $('previous').addEventListener('click', () => this.#turn(this.#offset - PAGE));
    $('next').addEventListener('click', () => this.#turn(this.#offset + PAGE));
    for (const tab of document.querySelectorAll('[name=tab]')) tab.addEventListener('change', () => this.#show(tab.value));
  }

  /** What of it is wanted. */
  query() {
    const wanted = { search: $('search').value.trim(), sort: $('sort').value, offset: this.#offset };
    return this.#tab === 'allocations' ? { ...wanted, allocations: true } : wanted;
  }

  show({ list, allocations, point, relay }) {
    write($('count-sessions'), count(point[SESSIONS]));
    write($('count-allocations'), count(relay.allocations));
    if (this.#tab === 'sessions') this.#showSessions(list, point[SESSIONS]);
    else if (allocations) this.#showAllocations(allocations);
  }

  #showSessions({ matching, sessions }, all) {
    // Sessions ended while the last page was shown: the server gave the one before.
    if (this.#offset >= matching) this.#offset = Math.max(0, Math.ceil(matching / PAGE) - 1) * PAGE;
    this.#sessions.show(sessions, ({ sessionId }) => sessionId);
    const [title, text] = all === 0
      ? ['Nobody is here.', 'As soon as somebody joins a session, it shows up here.']
      : ['No session matches.', `Nothing, and nobody, is called “${$('search').value.trim()}”.`];
    showEmpty($('sessions'), sessions.length === 0, title, text);
    $('pager').hidden = matching <= PAGE;
    write($('pager-text'), `${count(this.#offset + 1)}–${count(this.#offset + sessions.length)} of ${count(matching)}`);
    $('previous').disabled = this.#offset === 0;
    $('next').disabled = this.#offset + sessions.length >= matching;
  }

  #showAllocations({ matching, allocations }) {
    this.#allocations.show(allocations, ({ id }) => id);
    const [title, text] = $('search').value.trim()
      ? ['No allocation matches.', 'The search looks for the names of users.']
      : ['Nothing is relayed here.', 'Calls that find a direct path need no relay.'];
    showEmpty($('allocations'), allocations.length === 0, title, text);
    $('pager').hidden = matching <= allocations.length;
    write($('pager-text'), `${count(allocations.length)} of ${count(matching)}: search for a user to see others`);
    $('previous').disabled = $('next').disabled = true;
  }

  #turn(offset) {
    this.#offset = Math.max(0, offset);
    this.#changed();
  }

  #show(tab) {
    this.#tab = tab;
    $('sessions').hidden = tab !== 'sessions';
    $('allocations').hidden = tab !== 'allocations';
    $('sort-field').hidden = tab !== 'sessions';
    $('search').placeholder = tab === 'sessions' ? 'Session or person' : 'User';
    $('empty').hidden = true;
    $('pager').hidden = true;
    this.#turn(0);
  }
}

function showEmpty(table, empty, title, text) {
  table.hidden = empty;
  $('empty').hidden = !empty;
  write($('empty-title'), title);
  write($('empty-text'), text);
}

function createSession({ sessionId }, open) {
  const button = make('button', { type: 'button', className: 'row-open', textContent: sessionId });
  const names = make('span', { className: 'row-names' });
  const [people, rate, left] = ['People', 'Relayed now', 'Timer'].map((label) => make('td', { className: 'number', dataset: { label } }));
  const element = make('tr', {}, make('td', { className: 'row-main' }, button, names), people, rate, left);
  // The whole row is as good as its button, for those who point.
  element.addEventListener('click', () => open(sessionId));
  return {
    element,
    update(item) {
      const more = item.participants - item.names.length;
      write(names, item.names.join(', ') + (more > 0 ? ` and ${count(more)} more` : ''));
      write(people, count(item.participants));
      write(rate, item.rate ? bits(item.rate.bitsPerSecond) : '–');
      rate.classList.toggle('faint', !item.rate?.bitsPerSecond);
      write(left, timer(item.timer) || '–');
      left.classList.toggle('faint', !item.timer);
    },
  };
}

function createAllocation(item, close) {
  const badge = make('span', { className: 'badge', textContent: transport(item.transport) });
  const user = make('td', { className: 'row-main' }, make('span', { className: 'row-user', textContent: item.user }), badge);
  const client = make('span', { textContent: item.client });
  const relayed = make('span', { className: 'row-relayed', textContent: [item.relayed, item.additionalRelayed].filter(Boolean).join(', ') });
  const path = make('td', { className: 'row-path', dataset: { label: 'From and relayed as' } }, client, relayed);
  const [rate, old] = ['Relayed now', 'Age'].map((label) => make('td', { className: 'number', dataset: { label } }));
  const button = make('button', { type: 'button', className: 'quiet', textContent: 'Close…', ariaLabel: `Close the allocation of ${item.user} at ${item.relayed}` });
  button.addEventListener('click', () => close(item));
  const element = make('tr', {}, user, path, rate, old, make('td', { className: 'row-action' }, button));
  return {
    element,
    update({ rate: now, ageSeconds }) {
      write(rate, now ? bits(now.bitsPerSecond) : '–');
      rate.classList.toggle('faint', !now?.bitsPerSecond);
      write(old, age(ageSeconds));
    },
  };
}
