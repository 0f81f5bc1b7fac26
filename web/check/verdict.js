// What a check found, in words. Pure: it is told everything, and touches neither network nor page.
//
// `probes` holds one probe for each URL:
//   { kind: 'stun' | 'udp' | 'tcp' | 'tls', url, gathered: 'found' | 'nothing' | 'failed',
//     candidates: [{ type, address, port, family }], errors: [{ code, text }], loop: null | loop }
//   gathered  'found': the browser was given an address; 'nothing': neither an address nor an error;
//             'failed': only errors, or no end in time
//   loop      { works: true, roundTripMs, bytes, seconds } or { works: false, reason }: a call through the
//             relay and back to this page; null where there was no address to try it with

import { errorInWords, isRefusal } from './errors.js';
import { isPrivate, place } from './place.js';

const OVER = { udp: 'UDP', tcp: 'TCP', tls: 'TLS' };

/**
 * What one probe came to: 'works', 'mute' (addresses, but nothing passes), 'refused' (an answer, and it is no),
 * 'unreached' (no answer).
 */
export function outcome(probe) {
  if (probe.gathered === 'found') return probe.kind === 'stun' || probe.loop?.works ? 'works' : 'mute';
  if (probe.errors.some(isRefusal)) return 'refused';
  // A STUN server that tells the browser what it knows already gives neither an address nor an error.
  if (probe.kind === 'stun' && probe.gathered === 'nothing') return 'works';
  return 'unreached';
}

/**
 * `findings`: { probes, reached, signaling: { websocket, polling }, page: { host } }; `reached`: whether the relay's
 * addresses are reached from outside, null if that was not tried.
 * Gives { level: 'good' | 'fair' | 'bad', title, text, points: [{ level, text }] }; points may be 'info' too.
 */
export function verdict(findings) {
  const relays = summarize(findings.probes);
  const points = [
    ...signalingPoints(findings.signaling),
    ...stunPoints(findings.probes, relays),
    ...outsidePoints(findings),
    ...fallbackPoints(relays),
    ...problemPoints(findings.probes),
    ...placePoints(findings, relays),
  ];
  const said = judge(relays, findings);
  // Without signaling, nobody is ever told whom to call.
  if (!findings.signaling.websocket && !findings.signaling.polling && said.level !== 'bad') {
    return {
      level: 'bad',
      title: 'Calls cannot be set up from here.',
      text: 'The relay works, but this server’s signaling cannot be reached, over WebSocket or long-polling: a proxy in between does not pass /socket.io/ on.',
      points,
    };
  }
  return { ...said, points };
}

/** For each transport: { state, probe } of the best probe, or state 'absent'. */
function summarize(probes) {
  const rank = ['works', 'mute', 'refused', 'unreached'];
  const best = (kind) => {
    const found = probes
      .filter((probe) => probe.kind === kind)
      .map((probe) => ({ state: outcome(probe), probe }))
      .sort((one, other) => rank.indexOf(one.state) - rank.indexOf(other.state));
    return found[0] ?? { state: 'absent', probe: null };
  };
  return { udp: best('udp'), tcp: best('tcp'), tls: best('tls') };
}

function judge(relays, findings) {
  const states = Object.values(relays).map(({ state }) => state);
  if (states.every((state) => state === 'absent')) {
    return bad(
      'This server offers no relay.',
      'It hands out no TURN addresses: turn.listen_udp, turn.listen_tcp and turn.listen_tls are all empty. Only calls between people who reach each other directly will connect.',
    );
  }
  if (relays.udp.state === 'works') return good(relays);
  if (relays.tcp.state === 'works' || relays.tls.state === 'works') return fair(relays);
  if (states.includes('mute')) return mute(relays);
  if (states.includes('refused')) return refused(relays);
  return unreached(relays, findings);
}

function good(relays) {
  const { roundTripMs } = relays.udp.probe.loop;
  return {
    level: 'good',
    title: 'Calls work from here.',
    text: `The relay is reached over UDP, which is the best there is: ${milliseconds(roundTripMs)} there and back. A direct path is used where there is one, and the relay where there is none.`,
  };
}

function fair(relays) {
  const over = relays.tcp.state === 'works' ? 'TCP' : 'TLS';
  const { udp } = relays;
  const why = {
    absent: ['This server offers no relay over UDP', `The relay works over ${over}`],
    unreached: ['UDP is blocked here', `The relay works over ${over}`],
    refused: ['The relay refuses UDP', `It works over ${over}`],
    mute: ['The relay answers over UDP, but nothing comes through', `It works over ${over}`],
  }[udp.state];
  const only = over === 'TLS' ? ' Everything else is closed between you and the server.' : '';
  return {
    level: 'fair',
    title: `${why[0]}; calls work over ${over}.`,
    text: `${why[1]}, so calls connect, but with more delay, and pictures that halt for a moment where packets are lost.${only} ${fairAdvice(udp)}`.trim(),
  };
}

function fairAdvice({ state, probe }) {
  if (state === 'absent') return 'To offer UDP, set turn.listen_udp on the server.';
  if (state === 'unreached') {
    return `Open port ${place(probe.url).port}/udp towards ${place(probe.url).host}: in this network’s firewall, or in the server’s.`;
  }
  return errorInWords(probe.errors);
}

function mute(relays) {
  const { probe } = Object.values(relays).find(({ state }) => state === 'mute');
  const relayed = probe.candidates.find(({ type }) => type === 'relay');
  return bad(
    'The relay answers, but nothing comes through it.',
    `It gave ${relayed ? `the address ${relayed.address}` : 'an address'}, and no packet passed between two of them. Usually the relay’s ports (turn.relay_ports, 49160-49200/udp unless changed) are closed in the server’s firewall, or turn.external_ip is not the address by which the server is reached.`,
  );
}

function refused(relays) {
  const { probe } = Object.values(relays).find(({ state }) => state === 'refused');
  const { code } = probe.errors.find(isRefusal);
  const titles = {
    401: 'The relay refuses the credentials.',
    441: 'The relay refuses the credentials.',
    403: 'The relay forbids this.',
    486: 'The relay gives you no more addresses.',
    508: 'The relay is full.',
  };
  return bad(titles[code] ?? `The relay refuses (${code}).`, errorInWords(probe.errors));
}

function unreached(relays, { probes, page }) {
  const wanted = Object.entries(relays).filter(([, { state }]) => state !== 'absent');
  const ports = list(unique(wanted.map(([kind, { probe }]) => `${place(probe.url).port}/${kind === 'udp' ? 'udp' : 'tcp'}`)));
  const { host } = place(wanted[0][1].probe.url);
  const stun = probes.find(({ kind }) => kind === 'stun');
  if (isPrivate(host) && !isPrivate(page.host) && !isLocal(page.host)) {
    return bad(
      'Nothing works: the server names an address that only its own network reaches.',
      `Browsers are told to find the relay at ${host}, which is private. Set turn.external_ip on the server to its public address (PUBLIC/PRIVATE behind NAT), or turn.host to its name.`,
    );
  }
  if (stun && stun.gathered === 'found') {
    return bad(
      'The server is reached, its relay is not.',
      `STUN is answered, but no relay gives an address over ${list(wanted.map(([kind]) => OVER[kind]))}. The details say what the browser was told.`,
    );
  }
  return bad(
    'Nothing works: the relay cannot be reached.',
    `No answer from ${host}: ${wanted.length > 1 ? 'ports' : 'port'} ${ports} ${wanted.length > 1 ? 'are' : 'is'} closed between you and the server, or ${host} is not its address. Try another network; if it fails there too, open ${wanted.length > 1 ? 'them' : 'it'} in the server’s firewall and check turn.external_ip.`,
  );
}

function signalingPoints({ websocket, polling }) {
  if (websocket) return [{ level: 'good', text: 'Signaling works over WebSocket.' }];
  if (polling) {
    return [{ level: 'fair', text: 'Signaling works over long-polling only: a proxy in between does not pass WebSockets on. Calls connect, a little later.' }];
  }
  return [{ level: 'bad', text: 'Signaling cannot be reached: /socket.io/ is not passed on to this server.' }];
}

function stunPoints(probes, relays) {
  const stuns = probes.filter(({ kind }) => kind === 'stun');
  const seen = unique([...stuns, ...probes].flatMap(({ candidates }) => candidates)
    .filter(({ type }) => type === 'srflx')
    .map(({ address }) => address));
  if (seen.length > 0) return [{ level: 'good', text: `The internet sees you as ${list(seen)}. Direct calls are possible.` }];
  if (stuns.length === 0) return [{ level: 'info', text: 'This server offers no STUN: direct calls connect within one network only.' }];
  if (stuns.some((probe) => outcome(probe) === 'works') && relays.udp.state !== 'unreached') {
    return [{ level: 'good', text: 'STUN is answered, and tells nothing new: there is no NAT between you and the server.' }];
  }
  const works = Object.values(relays).some(({ state }) => state === 'works');
  return [{ level: 'fair', text: `STUN is not answered: no direct calls beyond this network${works ? ', everything goes through the relay' : ''}.` }];
}

/**
 * Somebody whose address is private cannot be called by a relay that denies those: only where the internet sees this
 * browser does silence tell something.
 */
function outsidePoints({ probes, reached }) {
  if (reached ?? true) return [];
  const seen = probes.flatMap(({ candidates }) => candidates).some(({ type, address }) => type === 'srflx' && !isPrivate(address));
  if (!seen) return [];
  return [{ level: 'fair', text: 'The relay’s own addresses are not reached from here: its ports (turn.relay_ports, 49160-49200/udp unless changed) look closed, in the server’s firewall or in this network’s. Calls connect only where both sides are relayed.' }];
}

/** What would help where UDP does not pass, or does not help. */
function fallbackPoints({ udp, tcp, tls }) {
  if (udp.state !== 'works' && tcp.state !== 'works' && tls.state !== 'works') return [];
  return [['tcp', tcp], ['tls', tls]].map(([kind, { state, probe }]) => fallbackPoint(kind, state, probe));
}

function fallbackPoint(kind, state, probe) {
  const over = OVER[kind];
  const use = kind === 'tls' ? 'gets through networks that let only encrypted traffic pass' : 'gets through networks that block UDP';
  if (state === 'works') return { level: 'good', text: `The relay works over ${over}: it ${use}.` };
  if (state === 'absent') return { level: 'info', text: `This server offers no relay over ${over}, which ${use}.` };
  if (state === 'mute') return { level: 'fair', text: `The relay answers over ${over}, but nothing comes through.` };
  if (state === 'refused') return { level: 'fair', text: `Over ${over}: ${errorInWords(probe.errors)}` };
  const { host, port } = place(probe.url);
  if (kind === 'tcp') return { level: 'fair', text: `The relay cannot be reached over TCP: port ${port}/tcp is closed.` };
  const named = isNumber(host) ? ' Certificates are for names: set turn.host on the server too.' : '';
  return { level: 'fair', text: `The relay cannot be reached over TLS: port ${port}/tcp is closed, or the browser does not trust the server’s certificate (turn.tls_cert_file).${named}` };
}

/** Refusals beside something that works would go unsaid. */
function problemPoints(probes) {
  const codes = new Set(probes.flatMap(({ errors }) => errors.map(({ code }) => code)));
  const points = [];
  if (codes.has(401) || codes.has(441)) points.push({ level: 'bad', text: errorInWords([{ code: 401 }]) });
  if (codes.has(508)) points.push({ level: 'fair', text: errorInWords([{ code: 508 }]) });
  return points;
}

function placePoints({ probes }, relays) {
  const relayed = Object.values(relays)
    .filter(({ state }) => state === 'works')
    .flatMap(({ probe }) => probe.candidates)
    .filter(({ type }) => type === 'relay');
  const families = unique(relayed.map(({ family }) => family));
  const points = families.length === 0 ? [] : [{ level: 'info', text: `Relayed addresses are ${list(families)}.` }];
  const servers = unique(probes.map(({ url }) => place(url).host));
  if (servers.length > 1) points.push({ level: 'info', text: `Servers tried: ${list(servers)}.` });
  return points;
}

function bad(title, text) {
  return { level: 'bad', title, text };
}

function isNumber(host) {
  return host.includes(':') || /^[\d.]+$/.test(host);
}

function isLocal(host) {
  return host === 'localhost' || host.endsWith('.localhost');
}

/** A round trip as people read it. */
export function milliseconds(value) {
  return value < 1 ? 'under 1 ms' : `${Math.round(value)} ms`;
}

function unique(values) {
  return [...new Set(values)];
}

function list(words) {
  if (words.length < 2) return words.join('');
  return `${words.slice(0, -1).join(', ')} and ${words.at(-1)}`;
}
