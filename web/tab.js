// What a tab remembers over a reload, and what it proposes when it remembers nothing.
// A browser may refuse the storage; then nothing is remembered, and all else goes on.

const TAB_KEY = 'setu.tab';
const NAME_KEY = 'setu.name';

/**
 * What this tab was before its reload. Taken out of the storage, because a duplicated tab copies the storage
 * and must not become the same participant.
 */
export function takeTab() {
  return attempt(() => {
    const kept = sessionStorage.getItem(TAB_KEY);
    sessionStorage.removeItem(TAB_KEY);
    return JSON.parse(kept);
  }) ?? {};
}

/** Keeps `tab` for the page that may follow in this tab. */
export function keepTab(tab) {
  attempt(() => sessionStorage.setItem(TAB_KEY, JSON.stringify(tab)));
}

/** The name used last in this browser; empty if there is none. */
export function lastName() {
  return attempt(() => localStorage.getItem(NAME_KEY)) ?? '';
}

/** Keeps `name` for every later call in this browser. */
export function keepName(name) {
  attempt(() => localStorage.setItem(NAME_KEY, name));
}

/** A session name that is easy to say and unlikely to be taken. */
export function suggestedSession() {
  const [manner, place, number] = crypto.getRandomValues(new Uint8Array(3));
  return `${MANNERS[manner % MANNERS.length]}-${PLACES[place % PLACES.length]}-${10 + (number % 90)}`;
}

const MANNERS = ['bright', 'calm', 'early', 'gentle', 'open', 'quiet'];
const PLACES = ['cedar', 'harbour', 'lotus', 'meadow', 'morning', 'river'];

// Storage may be blocked, full, or hold what is not ours.
function attempt(access) {
  try {
    return access();
  } catch {
    return undefined;
  }
}
