// What an operator may do, each after a question.

import { toast } from '../notices.js';

const $ = (id) => document.getElementById(id);

export class Actions {
  #token;
  #closedOut;

  /** `token()`: the one in use. `closedOut(text)`: it opens nothing any more. */
  constructor({ token, closedOut }) {
    this.#token = token;
    this.#closedOut = closedOut;
    $('confirm').addEventListener('click', (event) => event.target === $('confirm') && $('confirm').close('no'));
  }

  async endSession(id, people) {
    const yes = await ask({
      title: 'End this session?',
      text: `“${id}” ends for ${people === 1 ? 'the one person' : `all ${people} people`} in it, and so does their relay.`,
      action: 'End session',
      reason: true,
    });
    if (!yes) return;
    const reason = $('reason').value.trim();
    const query = reason ? `?${new URLSearchParams({ reason })}` : '';
    await this.#delete(`/api/sessions/${encodeURIComponent(id)}${query}`, 'Session ended');
  }

  async removeParticipant(session, { participantId, name }) {
    const yes = await ask({
      title: `Remove ${name}?`,
      text: 'Their call ends, their allocations are closed, and the credentials they were given are refused. They may join again.',
      action: 'Remove',
    });
    if (yes) await this.#delete(`/api/sessions/${encodeURIComponent(session)}/participants/${encodeURIComponent(participantId)}`, `${name} is removed`);
  }

  async closeAllocation({ id, user }) {
    const yes = await ask({
      title: 'Close this allocation?',
      text: `What it relays for ${user} stops at once. Their browser may make another.`,
      action: 'Close it',
    });
    if (yes) await this.#delete(`/api/allocations/${encodeURIComponent(id)}`, 'Allocation closed');
  }

  async #delete(path, done) {
    const token = this.#token();
    try {
      const response = await fetch(path, { method: 'DELETE', headers: token ? { Authorization: `Bearer ${token}` } : {} });
      if (response.ok) return toast(done);
      const { error } = await response.json().catch(() => ({}));
      if (response.status === 401) return this.#closedOut('The token opens nothing any more.');
      toast(response.status === 404 ? 'It had ended already.' : (error?.message ?? `The server answers with ${response.status}.`), { problem: response.status !== 404 });
    } catch {
      toast('The server does not answer.', { problem: true });
    }
  }
}

/** Whether the operator says yes. */
function ask({ title, text, action, reason = false }) {
  const dialog = $('confirm');
  $('confirm-title').textContent = title;
  $('confirm-text').textContent = text;
  $('confirm-yes').textContent = action;
  $('reason-field').hidden = !reason;
  $('reason').value = '';
  dialog.returnValue = 'no';
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), { once: true });
  });
}
