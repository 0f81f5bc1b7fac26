// Asks one STUN or TURN URL for addresses, and calls this page through it. One connection for each URL, so that
// every result belongs to one.

import { relayTransport } from '../route.js';
import { read } from '../stats.js';
import { family } from './place.js';

/** Browsers ask a silent server for about ten seconds. */
const GATHER_PATIENCE_MS = 15_000;
/** After the first address: there may be one of the other family. */
const MORE_ADDRESSES_MS = 400;
const CONNECT_PATIENCE_MS = 12_000;
const PINGS = 8;
const CHUNK_BYTES = 16_384;
const BURST_BYTES = 256 * 1024;
/** A slow path is told by what it moved until then. */
const BURST_PATIENCE_MS = 6_000;

/** 'stun', 'udp', 'tcp' or 'tls'. */
export function kindOf(url) {
  return relayTransport(url) ?? 'stun';
}

/** The addresses that `server` (an RTCIceServer with one URL) gives; see verdict.js for the shape. */
export async function gather(server, patienceMs = GATHER_PATIENCE_MS) {
  const url = server.urls;
  const kind = kindOf(url);
  const wanted = kind === 'stun' ? 'srflx' : 'relay';
  const connection = new RTCPeerConnection({ iceServers: [server], iceTransportPolicy: kind === 'stun' ? 'all' : 'relay' });
  const begun = performance.now();
  const candidates = [];
  const errors = [];
  let firstMs = null;
  const ended = await new Promise((done) => {
    const late = setTimeout(() => done('late'), patienceMs);
    const end = () => {
      clearTimeout(late);
      done('complete');
    };
    connection.onicecandidate = ({ candidate }) => {
      if (!candidate) return end();
      if (!candidate.candidate) return;
      candidates.push(plain(candidate));
      if (candidate.type !== wanted || firstMs !== null) return;
      firstMs = performance.now() - begun;
      setTimeout(end, MORE_ADDRESSES_MS);
    };
    connection.onicecandidateerror = ({ errorCode: code, errorText: text }) => {
      if (!errors.some((known) => known.code === code && known.text === text)) errors.push({ code, text });
    };
    connection.createDataChannel('check');
    connection.setLocalDescription().catch((error) => {
      errors.push({ code: 0, text: error.message });
      end();
    });
  });
  connection.close();
  const found = candidates.some(({ type }) => type === wanted);
  const gathered = found ? 'found' : errors.length > 0 || ended === 'late' ? 'failed' : 'nothing';
  return { kind, url, gathered, candidates, errors, firstMs, loop: null };
}

/** A call of this page with itself, both sides through `server` alone. */
export async function loop(server) {
  const configuration = { iceServers: [server], iceTransportPolicy: 'relay' };
  const [caller, callee] = [new RTCPeerConnection(configuration), new RTCPeerConnection(configuration)];
  try {
    const channel = await within(connect(caller, callee), CONNECT_PATIENCE_MS);
    if (!channel) return { works: false, reason: 'no packet came through in time' };
    const { pair } = await read(caller);
    const roundTripMs = await within(ping(channel), CONNECT_PATIENCE_MS);
    if (roundTripMs === undefined) return { works: false, reason: 'it connected, then fell silent' };
    return { works: true, roundTripMs, ...(await burst(channel)), over: pair?.relayProtocol ?? kindOf(server.urls) };
  } catch (error) {
    return { works: false, reason: error.message };
  } finally {
    caller.close();
    callee.close();
  }
}

/**
 * Whether packets from outside reach an address that `server` relays: a call between its relay, and this browser
 * without one. A call between two relays may never leave the server.
 */
export async function reach(server, stun) {
  const relayed = new RTCPeerConnection({ iceServers: [server], iceTransportPolicy: 'relay' });
  const direct = new RTCPeerConnection({ iceServers: stun ? [stun] : [] });
  try {
    const channel = await within(connect(relayed, direct), CONNECT_PATIENCE_MS);
    return channel !== undefined;
  } catch {
    return false;
  } finally {
    relayed.close();
    direct.close();
  }
}

/** The caller's open channel; the callee sends back the small messages, and of large ones how much came. */
async function connect(caller, callee) {
  caller.onicecandidate = ({ candidate }) => candidate?.candidate && callee.addIceCandidate(candidate).catch(() => {});
  callee.onicecandidate = ({ candidate }) => candidate?.candidate && caller.addIceCandidate(candidate).catch(() => {});
  const channel = caller.createDataChannel('check');
  channel.binaryType = 'arraybuffer';
  callee.ondatachannel = ({ channel: far }) => {
    let bytes = 0;
    far.binaryType = 'arraybuffer';
    far.onmessage = ({ data }) => {
      if (typeof data === 'string') return far.send(data);
      bytes += data.byteLength;
      far.send(`bytes ${bytes}`);
    };
  };
  const opened = new Promise((resolve) => { channel.onopen = resolve; });
  await caller.setLocalDescription();
  await callee.setRemoteDescription(caller.localDescription);
  await callee.setLocalDescription();
  await caller.setRemoteDescription(callee.localDescription);
  await opened;
  return channel;
}

/** The middle of several round trips. */
async function ping(channel) {
  const trips = [];
  for (let number = 0; number < PINGS; number += 1) {
    const sent = performance.now();
    const back = new Promise((resolve) => { channel.onmessage = resolve; });
    channel.send(`ping ${number}`);
    await back;
    trips.push(performance.now() - sent);
  }
  return trips.sort((one, other) => one - other)[PINGS >> 1];
}

/** How many bytes arrived, and in how many seconds. */
async function burst(channel) {
  const begun = performance.now();
  const arrived = { bytes: 0, at: begun };
  const all = new Promise((resolve) => {
    channel.onmessage = ({ data }) => {
      arrived.bytes = Number(data.split(' ')[1]);
      arrived.at = performance.now();
      if (arrived.bytes >= BURST_BYTES) resolve();
    };
  });
  for (let sent = 0; sent < BURST_BYTES; sent += CHUNK_BYTES) channel.send(new Uint8Array(CHUNK_BYTES));
  await within(all, BURST_PATIENCE_MS);
  return { bytes: arrived.bytes, seconds: (arrived.at - begun) / 1000 };
}

function plain({ type, address, port, protocol, candidate }) {
  // Some browsers tell the address in the line alone, some put IPv6 in brackets.
  const where = (address ?? candidate.split(' ')[4] ?? '').replace(/^\[|\]$/g, '');
  return { type, address: where, port: port ?? Number(candidate.split(' ')[5]), protocol, family: family(where) };
}

/** `promise`, or undefined once `ms` are over. */
function within(promise, ms) {
  let late;
  const end = new Promise((resolve) => { late = setTimeout(resolve, ms); });
  return Promise.race([promise, end]).finally(() => clearTimeout(late));
}
