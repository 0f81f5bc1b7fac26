// One session as this page lives it: who is there, and a connection with each of them.

import { Peer } from './peer.js';
import { configuration, reachable, unreachableInWords } from './route.js';
import { Signaling } from './signaling.js';

const MEASURE_EVERY_MS = 1_000;

export class Room {
  #identity;
  #media;
  #route;
  #on;
  #signaling;
  #peers = new Map();
  #iceServers = [];
  #measuring;
  #warned = false;

  /**
   * `identity`: { sessionId, participantId, participantName }. `route`: see route.js.
   * `on`: joined(), peer(peer), gone(peer), joinedBy(peer), offline(), ended(reason), removed(), problem(text).
   */
  constructor({ identity, media, route, on }) {
    this.#identity = identity;
    this.#media = media;
    this.#route = route;
    this.#on = on;
    this.#signaling = new Signaling(identity, {
      joined: (roster, iceServers) => this.#joined(roster, iceServers),
      roster: (roster) => this.#rename(roster),
      memberJoined: (id, name) => this.#memberJoined(id, name),
      memberLeft: (id) => this.#memberLeft(id),
      message: (message) => this.#message(message),
      iceServers: (iceServers) => this.#refresh(iceServers),
      ended: (reason) => on.ended(reason),
      removed: () => on.removed(),
      offline: () => on.offline(),
      refused: (text) => on.problem(text),
    });
  }

  get peers() { return [...this.#peers.values()]; }

  join() {
    this.#signaling.join();
    this.#measuring = setInterval(() => {
      for (const peer of this.peers) peer.measure();
    }, MEASURE_EVERY_MS);
  }

  /** Another route for the living call. */
  setRoute(route) {
    this.#route = route;
    this.#warned = false;
    this.#checkRoute();
    for (const peer of this.peers) peer.renew();
  }

  updateMedia() {
    for (const peer of this.peers) peer.updateMedia();
  }

  async leave() {
    this.#close();
    await this.#signaling.leave();
  }

  leaveAtOnce() {
    this.#close();
    this.#signaling.leaveAtOnce();
  }

  #close() {
    clearInterval(this.#measuring);
    for (const peer of this.peers) peer.close();
    this.#peers.clear();
  }

  #joined(roster, iceServers) {
    // After a reconnection: who left meanwhile is gone, who is still there keeps the living connection.
    for (const peer of this.peers) {
      if (!roster.has(peer.id)) this.#memberLeft(peer.id);
    }
    for (const [id, name] of roster) this.#peer(id, name);
    this.#refresh(iceServers);
    for (const peer of this.peers) peer.resume();
    this.#on.joined();
    // Last: before the call is entered, a problem would end it.
    this.#checkRoute();
  }

  #rename(roster) {
    for (const peer of this.peers) {
      const name = roster.get(peer.id);
      if (name === undefined || name === peer.name) continue;
      peer.name = name;
      this.#on.peer(peer);
    }
  }

  #memberJoined(id, name) {
    const known = this.#peers.has(id);
    const peer = this.#peer(id, name);
    if (!peer) return;
    if (!known) this.#on.joinedBy(peer);
    // The newcomer waits for our offer.
    peer.offer();
  }

  #memberLeft(id) {
    const peer = this.#peers.get(id);
    if (!peer) return;
    this.#peers.delete(id);
    peer.close();
    this.#on.gone(peer);
  }

  #message(message) {
    // Whoever offers is there, announced or not; anything else belongs to somebody known.
    const peer = message.type === 'offer' ? this.#peer(message.from, message.from) : this.#peers.get(message.from);
    peer?.handle(message);
  }

  #refresh(iceServers) {
    this.#iceServers = iceServers;
    // A living path stays as it is; the next one is found with the new credentials.
    for (const peer of this.peers) peer.reconfigure();
  }

  #checkRoute() {
    if (reachable(this.#iceServers, this.#route)) return;
    this.#on.problem(`This server offers no relay over ${this.#route.transport.toUpperCase()}. Choose another transport.`);
  }

  #changed(peer) {
    this.#on.peer(peer);
    if (!peer.pathless || this.#warned) return;
    this.#warned = true;
    this.#on.problem(unreachableInWords(this.#route));
  }

  #peer(id, name) {
    if (id === this.#identity.participantId) return undefined;
    const present = this.#peers.get(id);
    if (present) return present;
    const peer = new Peer({
      id,
      name: name || id,
      polite: this.#identity.participantId > id,
      media: this.#media,
      configuration: () => configuration(this.#iceServers, this.#route),
      send: (type, data, extra) => this.#signaling.send(type, id, data, extra),
      changed: (changed) => this.#changed(changed),
    });
    this.#peers.set(id, peer);
    this.#on.peer(peer);
    return peer;
  }
}
