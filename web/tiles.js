// The grid of people: one tile each, as large as the stage allows.

import { inWords } from './stats.js';

const GAP_PX = 12;
/** A tile's width over its height: portrait on a phone, wide on a desktop. */
const SHAPE = { narrowest: 9 / 16, widest: 16 / 9 };

export class Tiles {
  #list;
  #template;
  #tiles = new Map();
  #soundBlocked;

  /** `soundBlocked` is called when the browser refuses to play a remote voice without a click. */
  constructor(list, template, soundBlocked) {
    this.#list = list;
    this.#template = template;
    this.#soundBlocked = soundBlocked;
    new ResizeObserver(() => this.#arrange()).observe(list.parentElement);
  }

  /** One's own tile. */
  showSelf({ id, name, media }) {
    const tile = this.#tile(id);
    if (this.#list.firstElementChild !== tile.root) this.#list.prepend(tile.root);
    tile.root.classList.add('tile-self');
    tile.video.muted = true;
    tile.video.classList.add('mirrored');
    this.#fill(tile, { id, name: `${name} (you)`, stream: media.stream, camera: media.cameraOn, microphone: media.microphoneOn });
  }

  /** Another participant's tile. */
  showPeer(peer) {
    const tile = this.#tile(peer.id);
    const { id, name, stream, state } = peer;
    const says = peer.says ?? { microphone: true, camera: stream.getVideoTracks().length > 0 };
    this.#fill(tile, { id, name, stream, camera: state === 'connected' && says.camera, microphone: says.microphone });
    this.#showLink(tile, peer);
  }

  remove(id) {
    const tile = this.#tiles.get(id);
    if (!tile) return;
    tile.video.srcObject = null;
    tile.root.remove();
    this.#tiles.delete(id);
    this.#arrange();
  }

  clear() {
    for (const id of [...this.#tiles.keys()]) this.remove(id);
  }

  /** After a click: the voices that the browser held back. */
  playAll() {
    for (const { video } of this.#tiles.values()) video.play().catch(() => {});
  }

  #tile(id) {
    const present = this.#tiles.get(id);
    if (present) return present;
    const root = this.#template.content.firstElementChild.cloneNode(true);
    root.dataset.participant = id;
    root.style.setProperty('--hue', hue(id));
    const part = (selector) => root.querySelector(selector);
    const tile = {
      root,
      video: part('video'),
      avatar: part('.avatar'),
      name: part('.tile-name span'),
      muted: part('.tile-muted'),
      link: part('.tile-link'),
    };
    this.#tiles.set(id, tile);
    this.#list.append(root);
    this.#arrange();
    return tile;
  }

  #fill(tile, { name, stream, camera, microphone }) {
    tile.name.textContent = name;
    tile.avatar.textContent = initials(name);
    tile.muted.toggleAttribute('hidden', microphone);
    tile.video.hidden = !camera;
    tile.video.setAttribute('aria-label', `Video of ${name}`);
    if (tile.video.srcObject === stream || stream.getTracks().length === 0) return;
    tile.video.srcObject = stream;
    tile.video.play().catch((error) => {
      if (error.name === 'NotAllowedError') this.#soundBlocked();
    });
  }

  #showLink(tile, { state, reading, pathless }) {
    const words = linkWords(state, reading, pathless);
    tile.root.dataset.state = state;
    tile.link.hidden = false;
    tile.link.dataset.kind = [reading?.pair?.localType, reading?.pair?.remoteType].includes('relay') ? 'relay' : 'direct';
    // Unchanged text is left alone: replacing it would disturb a selection or a screen reader.
    if (tile.link.textContent === words.join('')) return;
    tile.link.replaceChildren(...words.map((word) => Object.assign(document.createElement('span'), { textContent: word })));
  }

  #arrange() {
    const { clientWidth, clientHeight } = this.#list;
    const count = this.#tiles.size;
    if (count === 0 || clientWidth === 0) return;
    const { width, height } = largestTile(count, clientWidth, clientHeight);
    this.#list.style.setProperty('--tile-width', `${Math.floor(width)}px`);
    this.#list.style.setProperty('--tile-height', `${Math.floor(height)}px`);
  }
}

/** Of all numbers of columns, the one that gives the largest tile. */
function largestTile(count, width, height) {
  let best = { width: 0, height: 0 };
  for (let columns = 1; columns <= count; columns += 1) {
    const rows = Math.ceil(count / columns);
    const cellWidth = (width - GAP_PX * (columns - 1)) / columns;
    const cellHeight = (height - GAP_PX * (rows - 1)) / rows;
    const tileWidth = Math.min(cellWidth, cellHeight * SHAPE.widest);
    const tileHeight = Math.min(cellHeight, tileWidth / SHAPE.narrowest);
    if (tileWidth * tileHeight > best.width * best.height) best = { width: tileWidth, height: tileHeight };
  }
  return best;
}

function linkWords(state, reading, pathless) {
  if (pathless && state !== 'connected') return ['The relay can’t be reached'];
  if (state === 'failed') return ['Connection lost, trying again…'];
  if (state === 'disconnected') return ['Connection interrupted…'];
  if (state !== 'connected') return ['Connecting…'];
  return reading?.pair ? inWords(reading.pair, reading.loss) : ['Connected'];
}

/** Up to two letters of a name, whatever its script. */
export function initials(name) {
  const words = name.replace(/\(.*\)$/, '').trim().split(/\s+/).filter(Boolean);
  return words.slice(0, 2).map((word) => [...word][0].toLocaleUpperCase()).join('');
}

/** A steady colour for a participant. */
export function hue(id) {
  let sum = 0;
  for (const character of id) sum = (sum * 31 + character.codePointAt(0)) % 360;
  return sum;
}
