// How media may travel: the user's choice, applied to the ICE servers of the session.

/** Between browser and relay; 'any' leaves the choice to the browser. */
export const TRANSPORTS = ['any', 'udp', 'tcp', 'tls'];

/** `route`: { forceRelay: boolean, transport: 'any' | 'udp' | 'tcp' | 'tls' }. */
export function configuration(iceServers, route) {
  return {
    iceServers: route.forceRelay ? relaysOnly(iceServers, route.transport) : iceServers,
    iceTransportPolicy: route.forceRelay ? 'relay' : 'all',
    // One transport for audio, video and data: one relay allocation instead of three.
    bundlePolicy: 'max-bundle',
  };
}

/** Whether the route leaves any relay to use. */
export function reachable(iceServers, route) {
  return !route.forceRelay || relaysOnly(iceServers, route.transport).length > 0;
}

/** The route in two or three words. */
export function routeInWords({ forceRelay, transport }) {
  if (!forceRelay) return 'Automatic';
  return transport === 'any' ? 'Relay' : `Relay over ${transport.toUpperCase()}`;
}

/** Why a forced relay gave no address. */
export function unreachableInWords({ transport }) {
  if (transport === 'tls') {
    return 'The relay can’t be reached over TLS. Browsers want a certificate they trust: set turn.tls_cert_file and turn.host on the server.';
  }
  const over = transport === 'any' ? '' : ` over ${transport.toUpperCase()}`;
  return `The relay can’t be reached${over}. A firewall may be in the way, here or at the server.`;
}

/** The transport between browser and relay that a TURN URL stands for; undefined for STUN. */
export function relayTransport(url) {
  if (url?.startsWith('turns:')) return 'tls';
  if (!url?.startsWith('turn:')) return undefined;
  return /[?&]transport=tcp\b/.test(url) ? 'tcp' : 'udp';
}

function relaysOnly(iceServers, transport) {
  const wanted = (url) => {
    const found = relayTransport(url);
    return found !== undefined && (transport === 'any' || transport === found);
  };
  return iceServers
    .map((server) => ({ ...server, urls: [server.urls].flat().filter(wanted) }))
    .filter((server) => server.urls.length > 0);
}
