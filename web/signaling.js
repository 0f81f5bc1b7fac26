// The session's events over Socket.IO. Knows the wire, nothing of WebRTC or the page.

import { io } from './vendor/socket.io.esm.min.js';

/** How long a join may stay unanswered before we say so. */
const JOIN_PATIENCE_MS = 10_000;
/** How long a leave waits for the server's answer before the socket is closed anyway. */
const LEAVE_PATIENCE_MS = 1_000;

export class Signaling {
  #socket;
  #identity;
  #on;
  #patience;

  /**
   * `identity`: { sessionId, participantId, participantName }.
   * `on`: joined(roster, iceServers), roster(roster), memberJoined(id, name), memberLeft(id),
   * message(message), iceServers(iceServers), ended(reason), removed(), offline(), refused(text).
   */
  constructor(identity, on) {
    this.#identity = identity;
    this.#on = on;
    this.#socket = io({
      transports: ['websocket', 'polling'],
      tryAllTransports: true,
      reconnectionDelay: 1000,
      reconnectionDelayMax: 5000,
      autoConnect: false,
    });
    this.#listen();
  }

  /** Connects and joins; joins again by itself after every reconnection. */
  join() {
    this.#socket.connect();
    this.#awaitJoin();
  }

  /**
   * Sends one offer, answer or candidate to `to`; `extra` travels along untouched. Without a connection to
   * the server it is lost: the library would keep it, but send it before the join that follows a reconnection.
   */
  send(type, to, data, extra) {
    if (!this.#socket.connected) return;
    const { sessionId, participantId } = this.#identity;
    const message = { type, sessionId, from: participantId, to, data, timestamp: Date.now() };
    this.#socket.emit(`webrtc-${type}`, { ...message, ...extra });
  }

  /** Tells the server, then closes the socket. */
  async leave() {
    clearTimeout(this.#patience);
    const socket = this.#socket;
    // Whoever comes or offers while the answer is under way comes to a session that this page has left.
    socket.off();
    socket.io.reconnection(false);
    if (socket.connected) {
      socket.emit('leave-session', this.#member());
      await new Promise((left) => {
        socket.once('session-left', left);
        setTimeout(left, LEAVE_PATIENCE_MS);
      });
    }
    socket.disconnect();
  }

  /** The page is going away: there is no time to wait for an answer. */
  leaveAtOnce() {
    clearTimeout(this.#patience);
    this.#socket.off();
    if (this.#socket.connected) this.#socket.emit('leave-session', this.#member());
    this.#socket.disconnect();
  }

  #listen() {
    const socket = this.#socket;
    const mine = (handle) => (payload) => {
      if (payload?.sessionId === this.#identity.sessionId) handle(payload);
    };
    socket.on('connect', () => socket.emit('join-session', this.#identity));
    socket.on('disconnect', (reason) => {
      if (reason === 'io client disconnect') return;
      this.#on.offline();
      // The server closed this socket on purpose; the library leaves the retry to us.
      if (reason === 'io server disconnect') socket.connect();
    });
    socket.on('session-joined', mine((payload) => {
      const roster = new Map(payload.participants.map((id) => [id, payload.participantNames?.[id] ?? id]));
      // Only the joiner's own copy carries credentials.
      if (!payload.iceServers) return this.#on.roster(roster);
      clearTimeout(this.#patience);
      this.#on.joined(roster, payload.iceServers);
    }));
    socket.on('participant-joined', mine((payload) => this.#on.memberJoined(payload.participantId, payload.participantName)));
    socket.on('participant-left', mine((payload) => this.#on.memberLeft(payload.participantId)));
    // This page has not asked to leave: an operator showed it out.
    socket.on('session-left', mine(() => this.#on.removed()));
    socket.on('session-ended', mine((payload) => this.#on.ended(payload.reason)));
    socket.on('ice-servers', (payload) => this.#on.iceServers(payload.iceServers));
    for (const type of ['offer', 'answer', 'ice-candidate']) {
      socket.on(`webrtc-${type}`, mine((message) => this.#on.message(message)));
    }
    socket.on('webrtc-signaling', mine((message) => this.#on.message(message)));
    socket.on('error', (error) => this.#on.refused(inWords(error)));
  }

  #awaitJoin() {
    this.#patience = setTimeout(() => {
      this.#on.refused('The server does not answer. Check that it is running and reachable, then try again.');
    }, JOIN_PATIENCE_MS);
  }

  #member() {
    const { sessionId, participantId } = this.#identity;
    return { sessionId, participantId };
  }
}

function inWords(error) {
  const known = {
    INVALID_SESSION_ID: 'This session name can’t be used. Try a shorter one.',
    INVALID_NAME: 'This name can’t be used. Try a shorter one.',
    LIMIT_EXCEEDED: 'This session is full.',
    FORBIDDEN: 'You are not allowed to do this here.',
    NOT_IN_SESSION: 'The server no longer counts you in this session. Leave and join again.',
  };
  return known[error?.code] ?? error?.message ?? 'The server reported a problem.';
}
