// What a browser's `icecandidateerror` means: RFC 8489 and 8656 codes, and the browsers' own 600 and 701.

const MEANINGS = {
  300: 'The server sends you to another one (turn.alternate_servers), which could not be tried.',
  400: 'The server did not understand the request. A device in between may change what is sent.',
  401: 'The server does not accept the credentials: they expired, were signed with another secret (credentials.secret), or the server’s clock is wrong.',
  403: 'The server forbids it: its peer policy denies the address, or the credentials are not for this.',
  437: 'The server takes this for an earlier connection of yours. Try again in a moment.',
  438: 'The server’s nonce went stale while the browser was answering. Try again.',
  440: 'The server has no relay for this address family.',
  441: 'The server knows the connection under other credentials.',
  442: 'The server does not relay over this transport.',
  486: 'You have as many relayed addresses as one may have (limits.allocations_per_user), or there are as many as there may be (limits.allocations).',
  500: 'The server failed. Its log says why.',
  508: 'All relay ports are taken. Widen turn.relay_ports on the server, and its firewall with it.',
};

/** One error in a sentence or two. */
export function meaning({ code, text = '' }) {
  if (MEANINGS[code]) return `${MEANINGS[code]} (${code})`;
  if (code === 701 && /lookup|resolve|hostname|dns/i.test(text)) return 'The server’s name leads nowhere: its DNS entry is missing, or this network’s DNS does not answer. (701)';
  if (code === 701 && /certificate|tls|ssl/i.test(text)) return 'The browser does not trust the server’s certificate. (701)';
  if (code === 701 || code === 600) return `No answer: the port is closed between you and the server, or nobody listens there. (${code})`;
  return text ? `${text} (${code})` : `The server answers with error ${code}.`;
}

/** Whether a server said no, rather than nothing at all. */
export function isRefusal({ code }) {
  return code >= 300 && code < 600;
}

/** The most telling of several errors, in words: what a server said tells more than silence. */
export function errorInWords(errors) {
  const said = errors.find(isRefusal) ?? errors[0];
  return said ? meaning(said) : 'No answer in time.';
}
