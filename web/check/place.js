// Where a STUN or TURN URL leads, and what kind of place that is.

/** { host, port } of a URL of RFC 7064 or 7065; an IPv6 host without its brackets. */
export function place(url) {
  const [, scheme, host, port] = /^(stuns?|turns?):(\[[^\]]*\]|[^:?]*)(?::(\d+))?/.exec(url) ?? [null, '', '', undefined];
  return { host: host.replace(/^\[|\]$/g, ''), port: port ? Number(port) : scheme.endsWith('s') ? 5349 : 3478 };
}

/** 'IPv4' or 'IPv6'; '' of a name such as those that hide local addresses. */
export function family(address) {
  if (/^\d+\.\d+\.\d+\.\d+$/.test(address)) return 'IPv4';
  return address.includes(':') ? 'IPv6' : '';
}

/** An address that only its own network, or its own machine, reaches. */
export function isPrivate(host) {
  const bare = host.replace(/^\[|\]$/g, '');
  const parts = bare.split('.').map(Number);
  if (family(bare) === 'IPv4') {
    const [a, b] = parts;
    return a === 10 || a === 127 || (a === 172 && b >= 16 && b < 32) || (a === 192 && b === 168)
      || (a === 169 && b === 254) || (a === 100 && b >= 64 && b < 128);
  }
  return family(bare) === 'IPv6' && (bare === '::1' || /^f[cd]/i.test(bare) || /^fe[89ab]/i.test(bare));
}
