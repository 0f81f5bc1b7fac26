// The server's stream of what goes on (GET /api/live): server-sent events over fetch, since EventSource sends no
// bearer token. Comes back by itself when the server was gone.

/** The server speaks once a second. */
const SILENCE_MS = 6_000;
const PAUSES_MS = [1_000, 1_000, 2_000, 4_000, 8_000];
/** A hidden page does not watch; one that was hidden for a moment does. */
const HIDDEN_MS = 15_000;

export class Live {
  #query;
  #token;
  #on;
  #attempt = null;
  #failures = 0;
  #again;
  #hiding;

  /** `on`: message(data), lost(), refused({ status, code, message }). */
  constructor(on) {
    this.#on = on;
    document.addEventListener('visibilitychange', () => this.#visibilityChanged());
  }

  /** Watches with this token (or none) and query (URLSearchParams). */
  open(token, query) {
    this.#token = token;
    this.#query = query;
    this.#failures = 0;
    this.#start();
  }

  /** Another page, another search: the stream goes on with that. */
  ask(query) {
    this.#query = query;
    if (this.#attempt) this.#start();
  }

  close() {
    clearTimeout(this.#again);
    this.#attempt?.abort();
    this.#attempt = null;
  }

  async #start() {
    this.close();
    const attempt = new AbortController();
    this.#attempt = attempt;
    try {
      const headers = this.#token ? { Authorization: `Bearer ${this.#token}` } : {};
      const response = await fetch(`/api/live?${this.#query}`, { headers, cache: 'no-store', signal: attempt.signal });
      if (!response.ok) {
        const { error } = await response.json().catch(() => ({}));
        // A server that is starting or overloaded may be well in a moment; whoever is refused stays refused.
        if (response.status === 401 || response.status === 400) {
          if (attempt === this.#attempt) this.#on.refused({ status: response.status, ...error });
          return;
        }
        throw new Error(error?.message ?? `status ${response.status}`);
      }
      await this.#read(response.body.getReader(), attempt);
      throw new Error('the stream has ended');
    } catch {
      // Replaced by a newer attempt, or closed: nobody waits for this one.
      if (attempt !== this.#attempt) return;
      attempt.abort();
      this.#on.lost();
      const pause = PAUSES_MS[Math.min(this.#failures, PAUSES_MS.length - 1)];
      this.#failures += 1;
      this.#again = setTimeout(() => this.#start(), pause);
    }
  }

  async #read(reader, attempt) {
    const decoder = new TextDecoder();
    let text = '';
    for (;;) {
      const silence = setTimeout(() => attempt.abort(), SILENCE_MS);
      const { done, value } = await reader.read().finally(() => clearTimeout(silence));
      if (done) return;
      text += decoder.decode(value, { stream: true });
      const events = text.split('\n\n');
      text = events.pop();
      if (attempt !== this.#attempt) return;
      for (const event of events) {
        this.#failures = 0;
        if (event.startsWith('data: ')) this.#on.message(JSON.parse(event.slice(6)));
      }
    }
  }

  #visibilityChanged() {
    clearTimeout(this.#hiding);
    if (!this.#query) return;
    if (document.hidden) {
      if (this.#attempt) this.#hiding = setTimeout(() => this.close(), HIDDEN_MS);
    } else if (!this.#attempt && this.#token !== undefined) {
      this.#start();
    }
  }
}
