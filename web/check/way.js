// One row of what was tried: a URL, how far it got, and the details.

import { errorInWords, meaning } from './errors.js';
import { loopInWords } from './report.js';
import { milliseconds, outcome } from './verdict.js';

const NAMES = {
  signaling: 'Signaling',
  stun: 'STUN',
  udp: 'Relay over UDP',
  tcp: 'Relay over TCP',
  tls: 'Relay over TLS',
  outside: 'Relay from outside',
};
const ICONS = { waiting: 'info', running: 'info', works: 'good', partly: 'fair', mute: 'bad', refused: 'bad', unreached: 'bad' };

export class Way {
  #row;

  constructor(list, template, kind, url) {
    const row = template.content.cloneNode(true).firstElementChild;
    row.dataset.kind = kind;
    row.querySelector('strong').textContent = NAMES[kind];
    row.querySelector('.way-url').textContent = url;
    list.append(row);
    this.#row = row;
  }

  /** Something is going on. */
  run(words) {
    this.#set('running', words);
  }

  /** What came of a probe. */
  show(probe) {
    const state = outcome(probe);
    this.#set(state, inWords(probe, state));
    const lines = [
      ...probe.candidates.map(({ type, address, port, protocol, family }) => `${CANDIDATES[type] ?? type}: ${address} port ${port}, ${protocol?.toUpperCase()}${family ? `, ${family}` : ''}`),
      ...(probe.firstMs == null ? [] : [`First address after ${milliseconds(probe.firstMs)}`]),
      ...probe.errors.map((error) => `${meaning(error)}${error.text ? ` “${error.text}”` : ''}`),
    ];
    this.#detail(lines);
  }

  showSignaling({ websocket, polling }) {
    if (websocket) return this.#set('works', 'Works over WebSocket');
    if (polling) return this.#set('partly', 'Works over long-polling only');
    this.#set('unreached', 'Not reached');
  }

  showOutside(reached) {
    if (reached) return this.#set('works', 'Its addresses are reached');
    this.#set('partly', 'Its addresses are not reached from this browser');
  }

  #set(state, words) {
    this.#row.dataset.state = state;
    this.#row.querySelector('use').setAttribute('href', `#i-${ICONS[state]}`);
    this.#row.querySelector('.way-result').textContent = words;
  }

  #detail(lines) {
    const details = this.#row.querySelector('details');
    details.hidden = lines.length === 0;
    details.querySelector('ul').replaceChildren(...lines.map((line) => {
      const item = document.createElement('li');
      item.textContent = line;
      return item;
    }));
  }
}

const CANDIDATES = { host: 'Your device', srflx: 'Seen from outside', prflx: 'Seen by a peer', relay: 'Relayed address' };

function inWords(probe, state) {
  if (state === 'unreached' || state === 'refused') return errorInWords(probe.errors);
  if (probe.kind === 'stun') {
    const seen = probe.candidates.find(({ type }) => type === 'srflx');
    return seen ? `The server sees you as ${seen.address}` : 'Answered; no NAT in between';
  }
  if (state === 'mute') return `It gives addresses, but a call through it ${loopInWords(probe.loop ?? { works: false, reason: 'was not tried' })}`;
  return `Works: ${loopInWords(probe.loop)}`;
}
