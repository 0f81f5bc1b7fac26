// What getStats says about one connection, for Chromium and Firefox, and the same in plain words.

import { relayTransport } from './route.js';

/**
 * One reading: `pair` (null while no path is found), `framesDecoded`, `packetsReceived`, `packetsLost`
 * (video and audio together, since the connection began).
 */
export async function read(connection) {
  const reports = [...(await connection.getStats()).values()];
  const byId = new Map(reports.map((report) => [report.id, report]));
  const inbound = reports.filter((report) => report.type === 'inbound-rtp');
  const sum = (field) => inbound.reduce((total, report) => total + (report[field] ?? 0), 0);
  return {
    pair: describe(selectedPair(reports, byId), reports, byId),
    framesDecoded: sum('framesDecoded'),
    packetsReceived: sum('packetsReceived'),
    packetsLost: sum('packetsLost'),
  };
}

/** Loss between two readings, in percent; 0 while nothing arrived. */
export function lossPercent(earlier, later) {
  const lost = Math.max(0, later.packetsLost - earlier.packetsLost);
  const arrived = Math.max(0, later.packetsReceived - earlier.packetsReceived);
  return lost + arrived === 0 ? 0 : (100 * lost) / (lost + arrived);
}

/** The pieces of, for example, "Relayed over UDP · 23 ms · 0 % lost". */
export function inWords(pair, loss) {
  const words = [path(pair)];
  if (pair.roundTripMs !== null) words.push(pair.roundTripMs < 1 ? '<1 ms' : `${Math.round(pair.roundTripMs)} ms`);
  words.push(`${loss > 0 && loss < 10 ? loss.toFixed(1).replace('.0', '') : Math.round(loss)} % lost`);
  return words;
}

function path(pair) {
  if (pair.localType === 'relay') return `Relayed over ${(pair.relayProtocol ?? pair.protocol).toUpperCase()}`;
  if (pair.remoteType === 'relay') return 'Relayed by the other side';
  return `Direct over ${pair.protocol.toUpperCase()}`;
}

function selectedPair(reports, byId) {
  const transport = reports.find((report) => report.type === 'transport' && report.selectedCandidatePairId);
  if (transport) return byId.get(transport.selectedCandidatePairId);
  // Firefox marks the pair itself.
  const pairs = reports.filter((report) => report.type === 'candidate-pair');
  return pairs.find((pair) => pair.selected) ?? pairs.find((pair) => pair.nominated && pair.state === 'succeeded');
}

function describe(pair, reports, byId) {
  const local = byId.get(pair?.localCandidateId);
  const remote = byId.get(pair?.remoteCandidateId);
  if (!local || !remote) return null;
  return {
    localType: local.candidateType,
    remoteType: remote.candidateType,
    protocol: local.protocol,
    relayProtocol: local.candidateType === 'relay' ? (local.relayProtocol ?? relayTransport(local.url) ?? null) : null,
    roundTripMs: roundTripMs(pair, reports),
  };
}

function roundTripMs(pair, reports) {
  const seconds = pair.currentRoundTripTime
    ?? reports.find((report) => report.type === 'remote-inbound-rtp' && report.roundTripTime !== undefined)?.roundTripTime;
  return seconds === undefined ? null : seconds * 1000;
}
