// The nodes, and whether Redis is there.

import { make, Rows, write } from './rows.js';
import { counted } from './words.js';

const $ = (id) => document.getElementById(id);

export class Nodes {
  #rows = new Rows($('nodes'), createNode);

  show({ nodes, redis }) {
    this.#rows.show(nodes, ({ id }) => id);
    $('pill-nodes').hidden = nodes.length < 2;
    write($('pill-nodes'), counted(nodes.length, 'node'));
    $('redis').dataset.state = { live: 'good', away: 'fair' }[redis] ?? 'none';
    write($('redis'), { live: 'Redis is connected', away: 'Redis is away' }[redis] ?? 'No Redis: sessions live in this process');
    $('pill-redis').hidden = !redis;
    $('pill-redis').dataset.state = redis === 'live' ? 'good' : 'fair';
    write($('pill-redis'), redis === 'live' ? 'Redis' : 'Redis is away');
  }
}

function createNode({ id }) {
  const name = make('p', { className: 'node-name' });
  const note = make('p', { className: 'node-note' });
  const element = make('li', { className: 'node' }, name, note);
  return {
    element,
    update({ own, draining, silentSeconds, allocations, portsInUse, sockets }) {
      const silent = !own && silentSeconds > 2;
      element.dataset.state = silent ? 'bad' : draining ? 'fair' : 'good';
      write(name, own ? 'This node' : id);
      const state = silent ? `silent for ${silentSeconds} s` : draining ? 'about to stop' : null;
      write(note, [state, counted(sockets, 'socket'), counted(allocations, 'allocation'), counted(portsInUse, 'port')].filter(Boolean).join(' · '));
    },
  };
}
