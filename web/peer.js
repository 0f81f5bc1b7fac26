// The connection with one other participant.
//
// A member who was there first offers, the newcomer answers. Every message carries the id of the
// RTCPeerConnection that its offerer made, and an answer repeats the number of its offer, so that nothing
// of an earlier one is mistaken for this one's. Clients that send neither are taken to mean the present.

import { lossPercent, read } from './stats.js';

/** Readings kept for the shown loss: about this many seconds. */
const LOSS_WINDOW = 10;
/** A failed connection is restarted at most this often. */
const RESTART_PAUSE_MS = 4_000;

export class Peer {
  id;
  name;
  /** What the other side sends. */
  stream = new MediaStream();
  /** What the other side says of itself; null until it has said so. */
  says = null;
  /** The latest reading of `stats.read`, with `loss` in percent; null until there is one. */
  reading = null;
  /** The browser found no address of its own to offer: with a forced relay, the relay is out of reach. */
  pathless = false;

  #connection = null;
  #connectionId = null;
  #offerer = false;
  #round = 0;
  #channel = null;
  #found = 0;
  #early = [];
  #readings = [];
  #restartTimer;
  #queue = Promise.resolve();
  #closed = false;

  #polite;
  #media;
  #configuration;
  #send;
  #changed;

  /**
   * `polite`: gives way when both offer at once. `configuration()`: the RTCConfiguration to use now.
   * `send(type, data, extra)`: to this participant. `changed(peer)`: something to show has changed.
   */
  constructor({ id, name, polite, media, configuration, send, changed }) {
    this.id = id;
    this.name = name;
    this.#polite = polite;
    this.#media = media;
    this.#configuration = configuration;
    this.#send = send;
    this.#changed = () => changed(this);
  }

  /** RTCPeerConnection.connectionState; 'new' before there is one. */
  get state() { return this.#connection?.connectionState ?? 'new'; }

  /** Offers a fresh connection, or only a new path where there is a living one. */
  offer() {
    return this.#enqueue(() => (this.state === 'connected' ? this.#offer({ iceRestart: true }) : this.#begin()));
  }

  /** Begins anew, by another route. An ICE restart would keep to the old path as long as that works. */
  renew() {
    return this.#enqueue(() => this.#begin());
  }

  /** Back at the server: an offer still without an answer may never have left this page. */
  resume() {
    return this.#enqueue(() => (this.#connection?.signalingState === 'have-local-offer' ? this.#begin() : undefined));
  }

  /** Takes an offer, an answer or a candidate of the other side, one after the other. */
  handle(message) {
    return this.#enqueue(() => {
      if (message.type === 'offer') return this.#handleOffer(message);
      if (message.type === 'answer') return this.#handleAnswer(message);
      if (message.type === 'ice-candidate') return this.#handleCandidate(message);
    });
  }

  /** New ICE servers, for the next time that a path must be found. */
  reconfigure() {
    return this.#enqueue(() => this.#connection?.setConfiguration(this.#configuration()));
  }

  /** Sends what the local media now are. */
  async updateMedia() {
    for (const { sender, receiver } of this.#connection?.getTransceivers() ?? []) {
      const track = receiver.track.kind === 'audio' ? this.#media.audioTrack : this.#media.videoTrack;
      if (sender.track !== track) await sender.replaceTrack(track);
    }
    this.#tell();
  }

  /** Reads the statistics once. */
  async measure() {
    const connection = this.#connection;
    if (!connection || connection.connectionState === 'closed') return;
    const reading = await read(connection);
    if (connection !== this.#connection) return;
    this.#readings = [...this.#readings, reading].slice(-LOSS_WINDOW);
    this.reading = { ...reading, loss: lossPercent(this.#readings[0], reading) };
    this.#changed();
  }

  /** For good: nothing that still waits in the queue may open another connection. */
  close() {
    this.#closed = true;
    this.#drop();
  }

  #drop() {
    clearTimeout(this.#restartTimer);
    this.#connection?.close();
    this.#connection = null;
    this.#connectionId = null;
    this.#channel = null;
    this.#found = 0;
    this.pathless = false;
    this.#early = [];
    this.#readings = [];
    this.reading = null;
    for (const track of this.stream.getTracks()) this.stream.removeTrack(track);
  }

  // One step at a time: an answer must not overtake the offer that is still being applied.
  #enqueue(step) {
    this.#queue = this.#queue.then(() => (this.#closed ? undefined : step())).catch((error) => {
      // A connection that was closed or replaced meanwhile has nothing left to say.
      if (this.#connection) console.warn(`setu: ${this.id}:`, error.message);
    });
    return this.#queue;
  }

  #open(connectionId, offerer) {
    this.#drop();
    const connection = new RTCPeerConnection(this.#configuration());
    this.#connection = connection;
    this.#connectionId = connectionId;
    this.#offerer = offerer;
    this.#openChannel(connection);
    if (offerer) {
      const options = { direction: 'sendrecv', streams: [this.#media.stream] };
      connection.addTransceiver(this.#media.audioTrack ?? 'audio', options);
      connection.addTransceiver(this.#media.videoTrack ?? 'video', options);
    }
    connection.ontrack = ({ track }) => {
      this.stream.addTrack(track);
      this.#changed();
    };
    connection.onicecandidate = ({ candidate }) => this.#candidateFound(candidate);
    connection.onconnectionstatechange = () => this.#connectionChanged(connection);
  }

  #candidateFound(candidate) {
    // Some browsers mark the end with an empty candidate before the null that follows anyway.
    if (candidate && !candidate.candidate) return;
    if (candidate) this.#found += 1;
    this.#tag('ice-candidate', candidate?.toJSON() ?? null);
    this.pathless = !candidate && this.#found === 0;
    if (this.pathless) this.#changed();
  }

  // Whether microphone and camera are on travels from browser to browser, not through the server.
  #openChannel(connection) {
    const channel = connection.createDataChannel('setu', { negotiated: true, id: 0 });
    channel.onopen = () => this.#tell();
    channel.onmessage = ({ data }) => {
      const said = parse(data);
      if (!said) return;
      this.says = { microphone: said.microphone === true, camera: said.camera === true };
      this.#changed();
    };
    this.#channel = channel;
  }

  #tell() {
    if (this.#channel?.readyState !== 'open') return;
    this.#channel.send(JSON.stringify({ microphone: this.#media.microphoneOn, camera: this.#media.cameraOn }));
  }

  #connectionChanged(connection) {
    if (connection !== this.#connection) return;
    clearTimeout(this.#restartTimer);
    if (connection.connectionState === 'failed') this.#recover(connection);
    this.#changed();
  }

  // Only the offerer restarts, so that the two don't collide.
  #recover(connection) {
    if (!this.#offerer) return;
    this.#enqueue(() => this.#offer({ iceRestart: true }));
    this.#restartTimer = setTimeout(() => {
      if (connection === this.#connection && connection.connectionState === 'failed') this.#recover(connection);
    }, RESTART_PAUSE_MS);
  }

  #begin() {
    this.#open(randomId(), true);
    return this.#offer();
  }

  async #offer({ iceRestart = false } = {}) {
    const connection = this.#connection;
    this.#round += 1;
    await connection.setLocalDescription(await connection.createOffer({ iceRestart }));
    this.#tag('offer', plain(connection.localDescription), { round: this.#round, restart: iceRestart });
  }

  async #handleOffer({ data, connection: connectionId, round, restart }) {
    const ours = this.#connection?.signalingState === 'have-local-offer';
    // Both offered: the impolite one's offer stands and the polite one answers it.
    if (ours && !this.#polite) return;
    const known = this.#connection && (connectionId === undefined || connectionId === this.#connectionId);
    if (!known && restart) {
      // It wants a new path for a connection that this page never had: ask for a new connection.
      this.#send('answer', null, { connection: connectionId, round });
      return;
    }
    if (!known) this.#open(connectionId, false);
    const connection = this.#connection;
    await connection.setRemoteDescription(data);
    if (!known) await this.#attach(connection);
    await this.#addEarlyCandidates(connection);
    await connection.setLocalDescription(await connection.createAnswer());
    this.#tag('answer', plain(connection.localDescription), { round });
  }

  async #handleAnswer({ data, connection: connectionId, round }) {
    if (connectionId !== undefined && connectionId !== this.#connectionId) return;
    if (round !== undefined && round !== this.#round) return;
    if (data === null) return this.#begin();
    const connection = this.#connection;
    if (connection?.signalingState !== 'have-local-offer') return;
    await connection.setRemoteDescription(data);
    await this.#addEarlyCandidates(connection);
  }

  async #handleCandidate({ data, connection: connectionId }) {
    if (!this.#connection || (connectionId !== undefined && connectionId !== this.#connectionId)) return;
    if (!this.#connection.remoteDescription) return void this.#early.push(data);
    await this.#addCandidate(this.#connection, data);
  }

  async #addEarlyCandidates(connection) {
    for (const candidate of this.#early.splice(0)) await this.#addCandidate(connection, candidate);
  }

  async #addCandidate(connection, candidate) {
    try {
      await connection.addIceCandidate(candidate);
    } catch {
      // A candidate of an offer that gave way to ours, or of a path given up since: others follow.
    }
  }

  // The answerer's side of the transceivers that the offer brought.
  async #attach(connection) {
    for (const transceiver of connection.getTransceivers()) {
      transceiver.direction = 'sendrecv';
      transceiver.sender.setStreams?.(this.#media.stream);
    }
    await this.updateMedia();
  }

  #tag(type, data, extra) {
    this.#send(type, data, { connection: this.#connectionId, ...extra });
  }
}

/** 128 random bits in hex. `crypto.randomUUID` is missing where the page came over plain HTTP. */
export function randomId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

function plain({ type, sdp }) {
  return { type, sdp };
}

function parse(text) {
  try {
    const value = JSON.parse(text);
    return typeof value === 'object' ? value : null;
  } catch {
    return null;
  }
}
