// What a tab remembers over a reload, and what it proposes when it remembers nothing.

const TAB_KEY = 'setu.tab';

/**
 * What this tab was before its reload. Taken out of the storage, because a duplicated tab copies the storage
 * and must not become the same participant.
 */
export function takeTab() {
  const kept = sessionStorage.getItem(TAB_KEY);
  sessionStorage.removeItem(TAB_KEY);
  return kept ? JSON.parse(kept) : {};
}

/** Keeps `tab` for the page that may follow in this tab. */
export function keepTab(tab) {
  sessionStorage.setItem(TAB_KEY, JSON.stringify(tab));
}

/** A session name that is easy to say and unlikely to be taken. */
export function suggestedSession() {
  const [manner, place, number] = crypto.getRandomValues(new Uint8Array(3));
  return `${MANNERS[manner % MANNERS.length]}-${PLACES[place % PLACES.length]}-${10 + (number % 90)}`;
}

const MANNERS = ['bright', 'calm', 'early', 'gentle', 'open', 'quiet'];
const PLACES = ['cedar', 'harbour', 'lotus', 'meadow', 'morning', 'river'];
