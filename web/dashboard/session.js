// One session with all that is known of it: who is there, how their media may travel, what they relay.

import { make, Rows, write } from './rows.js';
import { age, bits, bytes, clock, count, counted, transport } from './words.js';

const $ = (id) => document.getElementById(id);
const KINDS = ['host', 'srflx', 'prflx', 'relay'];

export class SessionDrawer {
  #actions;
  #changed;
  #id = null;
  #seen = false;
  #people;
  #count = 0;

  constructor(actions, changed) {
    this.#actions = actions;
    this.#changed = changed;
    this.#people = new Rows($('people'), (item) => createPerson(item, this.#id, actions));
    $('session-close').addEventListener('click', () => $('session').close());
    $('session').addEventListener('click', (event) => event.target === $('session') && $('session').close());
    $('session').addEventListener('close', () => this.#closed());
    $('end-session').addEventListener('click', () => this.#actions.endSession(this.#id, this.#count));
  }

  /** What of it is wanted. */
  query() {
    return this.#id === null ? {} : { session: this.#id };
  }

  open(id) {
    this.#id = id;
    this.#seen = false;
    this.#people.show([], () => '');
    $('session-title').textContent = id;
    $('session-facts').textContent = 'Asking…';
    $('end-session').disabled = true;
    $('session').showModal();
    $('session-title').focus();
    this.#changed();
  }

  close() {
    $('session').close();
  }

  show({ session, history }) {
    if (this.#id === null || (session && session.sessionId !== this.#id)) return;
    if (!session) {
      // The first message of a stream says whether there is such a session.
      if (this.#seen || history) this.#gone();
      return;
    }
    this.#seen = true;
    this.#count = session.participants.length;
    $('end-session').disabled = false;
    write($('session-facts'), facts(session));
    this.#people.show(session.participants, ({ participantId }) => participantId);
  }

  #gone() {
    this.#seen = false;
    this.#people.show([], () => '');
    write($('session-facts'), 'This session has ended.');
    $('end-session').disabled = true;
  }

  #closed() {
    this.#id = null;
    this.#changed();
  }
}

function facts({ participants, timer, reader, queue, verse }) {
  const left = timer && `timer at ${clock(timer.timeRemaining)}${timer.isPaused ? ', paused' : ''}`;
  const reads = reader && `${reader} reads`;
  const waits = queue.length > 0 && `${count(queue.length)} in the queue`;
  return [counted(participants.length, 'person', 'people'), left, reads, waits, verse && 'a verse is shown'].filter(Boolean).join(' · ');
}

function createPerson({ participantId }, session, actions) {
  let latest;
  const name = make('strong');
  const id = make('span', { className: 'person-id' });
  const remove = make('button', { type: 'button', className: 'quiet', textContent: 'Remove…' });
  remove.addEventListener('click', () => actions.removeParticipant(session, latest));
  const kinds = make('ul', { className: 'kinds', ariaLabel: 'Candidates offered' });
  const relayed = make('p', { className: 'person-relay' });
  const list = make('ul', { className: 'person-allocations' });
  const allocations = new Rows(list, (item) => createAllocation(item, actions));
  const head = make('div', { className: 'person-head' }, make('p', {}, name, id), remove);
  const element = make('li', { className: 'person' }, head, kinds, relayed, list);
  return {
    element,
    update(item) {
      latest = item;
      write(name, item.name);
      write(id, item.name === participantId ? '' : participantId);
      remove.ariaLabel = `Remove ${item.name}`;
      showKinds(kinds, item);
      write(relayed, relayWords(item));
      allocations.show(item.allocations, (allocation) => allocation.id);
    },
  };
}

function showKinds(list, { candidates, sockets }) {
  const words = [...KINDS.filter((kind) => candidates[kind]), counted(sockets, 'socket')];
  const text = words.join();
  if (list.dataset.shown === text) return;
  list.dataset.shown = text;
  list.replaceChildren(...words.map((word) => make('li', { className: 'badge', textContent: word, dataset: { kind: KINDS.includes(word) ? word : 'other' } })));
}

function relayWords({ relay, rate, allocations }) {
  const total = relay.toPeers.bytes + relay.toClients.bytes;
  if (relay.allocations === 0 && total === 0) return 'Nothing through the relay so far.';
  const now = rate?.bitsPerSecond ? `${bits(rate.bitsPerSecond)} now, ` : '';
  const elsewhere = relay.allocations > allocations.length ? ` · ${counted(relay.allocations - allocations.length, 'allocation')} on other nodes` : '';
  return `Relayed: ${now}${bytes(relay.toPeers.bytes)} to peers, ${bytes(relay.toClients.bytes)} to them in all${elsewhere}`;
}

function createAllocation(item, actions) {
  const path = make('p', { className: 'allocation-path' },
    make('span', { className: 'badge', textContent: transport(item.transport) }),
    make('span', { textContent: item.client }),
    make('span', { className: 'allocation-arrow', ariaHidden: 'true', textContent: '→' }),
    make('span', { textContent: [item.relayed, item.additionalRelayed].filter(Boolean).join(', ') }));
  const note = make('p', { className: 'allocation-note' });
  const close = make('button', { type: 'button', className: 'quiet', textContent: 'Close…', ariaLabel: `Close the allocation at ${item.relayed}` });
  close.addEventListener('click', () => actions.closeAllocation(item));
  return {
    element: make('li', { className: 'allocation' }, make('div', {}, path, note), close),
    update({ rate, ageSeconds, remainingSeconds, permissions, channels }) {
      const now = rate ? bits(rate.bitsPerSecond) : '–';
      write(note, `${now} · ${age(ageSeconds)} old, ${age(remainingSeconds)} left · ${counted(permissions, 'permission')}, ${counted(channels, 'channel')}`);
    },
  };
}
