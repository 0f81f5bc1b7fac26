// The figures on top, each with its chart of the last minutes.

import { Chart, WINDOW_MS } from './charts.js';
import {
  ALLOCATIONS, AT, BITS_TO_CLIENTS, BITS_TO_PEERS, DROPS, FAILED, PACKETS_TO_CLIENTS, PACKETS_TO_PEERS, PEOPLE, PORTS, SESSIONS,
} from './point.js';
import { make, write } from './rows.js';
import { bits, count, counted, denial, reason } from './words.js';

const $ = (id) => document.getElementById(id);

export class Figures {
  #points = [];
  #charts;

  constructor() {
    const chart = (id, names, format) => new Chart(document.querySelector(`#${id} [data-chart]`), names, format);
    this.#charts = [
      { chart: chart('figure-people', ['people'], count), columns: [PEOPLE] },
      { chart: chart('figure-traffic', ['to peers', 'to clients'], bits), columns: [BITS_TO_PEERS, BITS_TO_CLIENTS] },
      { chart: chart('figure-packets', ['to peers', 'to clients'], (value) => `${count(value)}/s`), columns: [PACKETS_TO_PEERS, PACKETS_TO_CLIENTS] },
      { chart: chart('figure-ports', ['ports', 'allocations'], count), columns: [PORTS, ALLOCATIONS] },
      { chart: new Chart($('trouble-chart'), ['dropped', 'failed logins'], (value) => `${count(value)}/s`), columns: [DROPS, FAILED] },
    ];
  }

  /** How far back the points go. */
  get seconds() {
    return this.#points.length === 0 ? 0 : (this.#points.at(-1)[AT] - this.#points[0][AT]) / 1000;
  }

  show({ point, history, relay, timers, sockets, at }) {
    if (history) this.#points = history;
    if (this.#points.at(-1)?.[AT] !== point[AT]) this.#points.push(point);
    while (this.#points.length > 0 && this.#points[0][AT] < at - WINDOW_MS) this.#points.shift();
    for (const { chart, columns } of this.#charts) chart.draw(this.#points.map((values) => [values[AT], ...columns.map((column) => values[column])]), at);
    this.#write('people', count(point[PEOPLE]), [`in ${counted(point[SESSIONS], 'session')}`, counted(sockets, 'socket'), counted(timers, 'timer')]);
    this.#write('traffic', bits(point[BITS_TO_PEERS] + point[BITS_TO_CLIENTS]), [`${bits(point[BITS_TO_PEERS])} to peers`, `${bits(point[BITS_TO_CLIENTS])} to clients`], 2);
    this.#write('packets', `${count(point[PACKETS_TO_PEERS] + point[PACKETS_TO_CLIENTS])}/s`, [`${count(point[PACKETS_TO_PEERS])} to peers`, `${count(point[PACKETS_TO_CLIENTS])} to clients`], 2);
    const tcp = relay.tcpPortsInUse > 0 ? [`${count(relay.tcpPortsInUse)} for TCP`] : [];
    this.#write('ports', `${count(relay.portsInUse)} of ${count(relay.portsTotal)}`, [counted(relay.portsInUse, 'port'), counted(relay.allocations, 'allocation'), counted(relay.channels, 'channel'), ...tcp], 2);
    $('figure-ports').dataset.full = String(relay.portsInUse >= relay.portsTotal);
    showTrouble(relay);
  }

  /** The first `lines` notes say what is drawn. */
  #write(name, value, notes, lines = 0) {
    const card = $(`figure-${name}`);
    write(card.querySelector('[data-value]'), value);
    const line = card.querySelector('[data-note]');
    const spans = notes.map((note, index) => line.children[index] ?? line.appendChild(make('span', { className: index < lines ? `legend legend-${index}` : '' })));
    for (const [index, span] of spans.entries()) write(span, notes[index]);
    while (line.children.length > notes.length) line.lastElementChild.remove();
  }
}

function showTrouble({ failedLogins, drops, refused, denied }) {
  const rows = [
    ['Failed logins', failedLogins],
    ...drops.map(({ what, total }) => [reason(what), total]),
    ...refused.map(({ what, total }) => [`limits.${what}`, total]),
    ...denied.map(({ what, total }) => [denial(what), total]),
  ];
  const list = $('trouble');
  const text = JSON.stringify(rows);
  if (list.dataset.shown === text) return;
  list.dataset.shown = text;
  list.replaceChildren(...rows.flatMap(([name, total]) => [make('dt', {}, name), make('dd', {}, count(total))]));
}
