// What the connectivity check says of what it found: a table, without a browser.

import { test } from 'node:test';
import assert from 'node:assert/strict';
import { errorInWords } from '../../web/check/errors.js';
import { family, isPrivate, place } from '../../web/check/place.js';
import { report } from '../../web/check/report.js';
import { outcome, verdict } from '../../web/check/verdict.js';

const HOST = '198.51.100.7';
const URLS = {
  stun: `stun:${HOST}:3478`,
  udp: `turn:${HOST}:3478?transport=udp`,
  tcp: `turn:${HOST}:3478?transport=tcp`,
  tls: `turns:${HOST}:5349?transport=tcp`,
};
const RELAYED = { type: 'relay', address: HOST, port: 49_160, protocol: 'udp', family: 'IPv4' };
const REFLEXIVE = { type: 'srflx', address: '203.0.113.9', port: 40_000, protocol: 'udp', family: 'IPv4' };
const NO_ANSWER = { code: 701, text: 'STUN allocate request timed out.' };

const CASES = [
  { name: 'everything works', found: 'stun udp tcp tls', level: 'good', title: /^Calls work from here/, says: [/203\.0\.113\.9/, /over TCP: it gets through/, /over TLS: it gets through/] },
  { name: 'the relay range is closed, and both sides are relayed', found: 'stun udp tcp tls', reached: false, level: 'good', title: /^Calls work/, says: [/own addresses are not reached.*49160-49200\/udp/] },
  { name: 'UDP is blocked', found: 'tcp tls', lost: 'stun udp', level: 'fair', title: /^UDP is blocked here; calls work over TCP/, says: [/more delay/, /3478\/udp/, /STUN is not answered/] },
  { name: 'only TLS passes', found: 'tls', lost: 'stun udp tcp', level: 'fair', title: /^UDP is blocked here; calls work over TLS/, says: [/Everything else is closed/, /3478\/tcp is closed/] },
  { name: 'the server has no UDP', found: 'tcp tls', level: 'fair', title: /^This server offers no relay over UDP; calls work over TCP/, says: [/turn\.listen_udp/, /offers no STUN/] },
  { name: 'the server has TLS alone', found: 'tls', level: 'fair', title: /no relay over UDP; calls work over TLS/, says: [/no relay over TCP/] },
  { name: 'TLS is closed, or its certificate refused', found: 'stun udp tcp', lost: 'tls', level: 'good', title: /^Calls work/, says: [/5349\/tcp is closed, or the browser does not trust/, /Certificates are for names/] },
  { name: 'nothing is reached', lost: 'stun udp tcp tls', level: 'bad', title: /^Nothing works/, says: [/3478\/udp, 3478\/tcp and 5349\/tcp are closed between you and the server/] },
  { name: 'nothing is offered', level: 'bad', title: /offers no relay/, says: [/turn\.listen_udp, turn\.listen_tcp and turn\.listen_tls/] },
  { name: 'the secret is another', found: 'stun', refused: { 'udp tcp tls': 401 }, level: 'bad', title: /refuses the credentials/, says: [/credentials\.secret/, /clock/] },
  { name: 'the relay is full', found: 'stun', refused: { 'udp tcp tls': 508 }, level: 'bad', title: /full/, says: [/turn\.relay_ports/] },
  { name: 'one has too many', found: 'stun', refused: { 'udp tcp tls': 486 }, level: 'bad', title: /no more addresses/, says: [/allocations_per_user/] },
  { name: 'another refusal', found: 'stun', refused: { 'udp tcp tls': 442 }, level: 'bad', title: /refuses \(442\)/, says: [/does not relay over this transport/] },
  { name: 'TCP is refused what UDP is given', found: 'stun udp tls', refused: { tcp: 401 }, level: 'good', title: /^Calls work/, says: [/does not accept the credentials/] },
  { name: 'the relay range is closed', found: 'stun', mute: 'udp tcp tls', level: 'bad', title: /nothing comes through/, says: [/49160-49200\/udp/, /turn\.external_ip/] },
  { name: 'UDP is mute, TCP is not', found: 'stun tcp tls', mute: 'udp', level: 'fair', title: /over UDP, but nothing comes through; calls work over TCP/, says: [] },
  { name: 'STUN alone is answered', found: 'stun', lost: 'udp tcp tls', level: 'bad', title: /its relay is not/, says: [/UDP, TCP and TLS/] },
  { name: 'without NAT, STUN tells nothing', found: 'udp tcp tls', quiet: 'stun', level: 'good', title: /^Calls work/, says: [/no NAT between you and the server/] },
  { name: 'a browser that tells no errors, and UDP blocked', found: 'tcp', quiet: 'stun', lost: 'udp tls', level: 'fair', title: /^UDP is blocked/, says: [/STUN is not answered/] },
  { name: 'WebSockets do not pass', found: 'stun udp tcp tls', signaling: { websocket: false, polling: true }, level: 'good', title: /^Calls work/, says: [/long-polling only/] },
  { name: 'signaling does not pass', found: 'stun udp tcp tls', signaling: { websocket: false, polling: false }, level: 'bad', title: /cannot be set up/, says: [/\/socket\.io\//] },
  { name: 'a private address is handed out', lost: 'udp tcp', urls: { udp: 'turn:10.0.0.5:3478', tcp: 'turn:10.0.0.5:3478?transport=tcp' }, level: 'bad', title: /address that only its own network reaches/, says: [/10\.0\.0\.5/, /turn\.external_ip/] },
  { name: 'the same within that network', lost: 'udp', urls: { udp: 'turn:10.0.0.5:3478' }, host: '10.0.0.5', level: 'bad', title: /^Nothing works: the relay cannot be reached/, says: [/port 3478\/udp is closed/] },
  { name: 'IPv6', found: 'udp', urls: { udp: 'turn:[2001:db8::7]:3478?transport=udp' }, level: 'good', title: /^Calls work/, says: [] },
];

for (const { name, level, title, says, ...found } of CASES) {
  test(`verdict: ${name}`, () => {
    const said = verdict(findings(found));
    const text = [said.text, ...said.points.map((point) => point.text)].join('\n');
    assert.equal(said.level, level, said.title);
    assert.match(said.title, title);
    for (const words of says) assert.match(text, words);
    assert.doesNotMatch(`${said.title} ${text}`, /undefined|null|NaN|\[object/);
  });
}

test('a probe comes to one of four ends', () => {
  const { probes: [works, mute, refused, unreached] } = findings({ found: 'udp', mute: 'tcp', refused: { tls: 437 } , lost: 'stun' });
  assert.deepEqual([works, mute, refused, unreached].map(outcome), ['works', 'mute', 'refused', 'unreached']);
});

test('an error is told in words, the server’s before the browser’s', () => {
  assert.match(errorInWords([NO_ANSWER, { code: 401, text: 'Unauthorized' }]), /credentials.*\(401\)/);
  assert.match(errorInWords([NO_ANSWER]), /the port is closed.*\(701\)/);
  assert.match(errorInWords([{ code: 701, text: 'TURN host lookup received error.' }]), /name leads nowhere/);
  assert.match(errorInWords([{ code: 499, text: 'Odd' }]), /Odd \(499\)/);
  assert.equal(errorInWords([]), 'No answer in time.');
});

test('a URL names a place', () => {
  const cases = [
    ['turn:relay.example.org:3480?transport=tcp', 'relay.example.org', 3480],
    ['turns:relay.example.org', 'relay.example.org', 5349],
    ['stun:[2001:db8::1]:3478', '2001:db8::1', 3478],
    ['turn:[::1]', '::1', 3478],
  ];
  for (const [url, host, port] of cases) assert.deepEqual(place(url), { host, port }, url);
});

test('private addresses are known by their numbers', () => {
  for (const host of ['10.1.2.3', '127.0.0.1', '172.31.0.1', '192.168.1.1', '169.254.1.1', '100.64.0.1', '::1', 'fd00::1', 'fe80::1', '[fd00::1]']) assert.ok(isPrivate(host), host);
  for (const host of ['9.9.9.9', '172.32.0.1', '192.169.1.1', '100.128.0.1', '2001:db8::1', 'fc.example.org', 'relay.example.org']) assert.ok(!isPrivate(host), host);
  assert.deepEqual(['192.0.2.1', '2001:db8::1', 'a1b2.local'].map(family), ['IPv4', 'IPv6', '']);
});

test('whom a relay may deny is not told that ports are closed', () => {
  const { points } = verdict(findings({ found: 'udp', quiet: 'stun', reached: false }));
  assert.ok(points.every(({ text }) => !text.includes('not reached')), JSON.stringify(points));
});

test('the report tells all of it, and no credential', () => {
  const found = findings({ found: 'udp', lost: 'tcp' });
  const text = report({ ...found, at: '2026-01-01T00:00:00Z', page: { origin: 'https://setu.example.org', browser: 'A browser' }, verdict: verdict(found) });
  for (const part of ['https://setu.example.org', 'GOOD: Calls work', URLS.udp, URLS.tcp, 'relay 198.51.100.7:49160 udp', 'error 701', '23 ms there and back, 256 KiB moved in 0.3 s', 'WebSocket works']) {
    assert.ok(text.includes(part), `${part} in\n${text}`);
  }
  assert.doesNotMatch(text, /undefined|null|password|credential:/);
});

/** Words of kinds: `found` and working, `mute`, `lost` (701), `quiet` (neither); `refused`: by code. */
function findings({ found = '', mute = '', lost = '', quiet = '', refused = {}, urls = URLS, signaling = { websocket: true, polling: true }, reached = null, host = 'setu.example.org' }) {
  const loop = { works: true, roundTripMs: 23.4, bytes: 262_144, seconds: 0.31 };
  const probes = [
    ...each(found, (kind) => ({ gathered: 'found', candidates: [kind === 'stun' ? REFLEXIVE : RELAYED], errors: [], loop: kind === 'stun' ? null : loop })),
    ...each(mute, () => ({ gathered: 'found', candidates: [RELAYED], errors: [], loop: { works: false, reason: 'silence' } })),
    ...Object.entries(refused).flatMap(([kinds, code]) => each(kinds, () => ({ gathered: 'failed', candidates: [], errors: [NO_ANSWER, { code, text: '' }], loop: null }))),
    ...each(lost, () => ({ gathered: 'failed', candidates: [], errors: [NO_ANSWER], loop: null })),
    ...each(quiet, () => ({ gathered: 'nothing', candidates: [], errors: [], loop: null })),
  ];
  return { probes, reached, signaling, page: { host } };

  function each(kinds, make) {
    return kinds.split(' ').filter(Boolean).map((kind) => ({ kind, url: urls[kind], firstMs: 12, ...make(kind) }));
  }
}
