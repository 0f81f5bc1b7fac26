// The admin token: in this tab's storage, and in no address. A browser may refuse the storage; then it is typed again.

const KEY = 'setu.admin';

export function keptToken() {
  return attempt(() => sessionStorage.getItem(KEY)) ?? '';
}

export function keepToken(token) {
  attempt(() => sessionStorage.setItem(KEY, token));
}

export function forgetToken() {
  attempt(() => sessionStorage.removeItem(KEY));
}

function attempt(access) {
  try {
    return access();
  } catch {
    return undefined;
  }
}
