// The reading hook: session, verses, queue, timer. It joins when it connects first, and never after a reconnect.

class ReadingClient {
  participants = [];
  queue = [];
  currentReader = null;
  verse = null;
  timer = null;
  told = [];
  #me;
  #asking = [];

  constructor({ server, session, id, name }) {
    this.#me = { sessionId: session, participantId: id, participantName: name };
    this.socket = io(server, {
      transports: ['websocket', 'polling'], forceNew: true,
      reconnection: true, reconnectionAttempts: 5, reconnectionDelay: 1000, reconnectionDelayMax: 5000, timeout: 20000,
    });
    this.socket.once('connect', () => this.#join());
    this.socket.on('connect_error', (error) => errors.push(`connect_error: ${error.message}`));
    this.socket.on('error', ({ code, message }) => errors.push(`${code}: ${message}`));
    this.socket.onAny((event) => this.told.push(event));
    this.socket.on('session-joined', ({ participants }) => { this.participants = participants; });
    this.socket.on('participant-left', ({ participantId }) => {
      this.participants = this.participants.filter((id) => id !== participantId);
    });
    this.socket.on('queue-updated', ({ queue, currentReader }) => {
      this.queue = queue;
      this.currentReader = currentReader;
      for (const answered of this.#asking.splice(0)) answered();
    });
    this.socket.on('verse-changed', ({ verse }) => { this.verse = verse; });
    this.socket.on('reading-started', ({ participantId }) => { this.currentReader = participantId; });
    this.socket.on('session-timer-update', (update) => this.#timed(update));
    this.socket.on('session-ended', ({ reason }) => {
      this.ended = reason;
      this.#join();
    });
  }

  get isMyTurn() { return this.currentReader === this.#me.participantId; }

  /** Reads the queue, adds itself and writes it back. */
  async enterQueue() {
    const answered = new Promise((resolve) => this.#asking.push(resolve));
    this.#emit('get-queue');
    await answered;
    this.#emit('update-queue', { queue: [...this.queue, this.#me.participantId] });
  }

  changeVerse(verse) { this.#emit('change-verse', { verse }); }
  startReading() { this.#emit('start-reading', { participantId: this.#me.participantId, verse: this.verse }); }
  finishReading() { this.#emit('finish-reading', { participantId: this.#me.participantId, verse: this.verse }); }
  skipReading() { this.#emit('skip-reading', { participantId: this.#me.participantId }); }
  startTimer(duration) { this.#emit('start-session-timer', { duration }); }
  pauseTimer() { this.#emit('pause-session-timer'); }
  resumeTimer() { this.#emit('resume-session-timer'); }
  endSession(reason) { this.#emit('end-session', { reason }); }

  state() {
    const { participants, queue, currentReader, verse, isMyTurn, ended } = this;
    return { participants, queue, currentReader, verse, isMyTurn, ended, timer: this.timer };
  }

  #timed({ timeRemaining, isActive, isPaused }) {
    const ran = this.timer?.isActive;
    this.timer = { timeRemaining, isActive, isPaused };
    if (ran && !isActive) this.#join();
  }

  #join() { this.socket.emit('join-session', this.#me); }
  #emit(event, payload) { this.socket.emit(event, { sessionId: this.#me.sessionId, ...payload }); }
}
