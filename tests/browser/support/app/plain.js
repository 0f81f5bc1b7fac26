// The plain client class: it sends every event that it receives back to the server.

class PlainClient {
  told = [];
  #me;

  constructor({ server, session, id }) {
    this.#me = { sessionId: session, participantId: id };
    this.socket = io(server, { transports: ['websocket', 'polling'], forceNew: true });
    this.socket.once('connect', () => this.socket.emit('join-session', this.#me));
    this.socket.onAny((event, ...payload) => {
      this.told.push(event);
      this.socket.emit(event, ...payload);
    });
  }

  requestNextVerse() { this.socket.emit('request-next-verse', this.#me); }
  updateReadingStatus(status) { this.socket.emit('update-reading-status', { ...this.#me, status }); }
}
