// A finished check as text to paste into a report. Pure. No credential is in it.

import { meaning } from './errors.js';
import { milliseconds, outcome } from './verdict.js';

/** `check`: { at, page: { origin, browser }, probes, reached, signaling, verdict }. */
export function report({ at, page, probes, reached = null, signaling, verdict }) {
  const lines = [
    'Setu connectivity check',
    `When:     ${at}`,
    `Page:     ${page.origin}`,
    `Browser:  ${page.browser}`,
    '',
    `${verdict.level.toUpperCase()}: ${verdict.title}`,
    verdict.text,
    ...verdict.points.map(({ level, text }) => `  [${level}] ${text}`),
    '',
    `Signaling: WebSocket ${yesNo(signaling.websocket)}, long-polling ${yesNo(signaling.polling)}`,
    ...probes.flatMap(probeLines),
    ...(reached === null ? [] : ['', `Relayed addresses from outside: ${reached ? 'reached' : 'not reached'}`]),
  ];
  return `${lines.join('\n')}\n`;
}

function probeLines(probe) {
  const lines = ['', `${probe.url}: ${outcome(probe)}${probe.firstMs == null ? '' : `, first address after ${milliseconds(probe.firstMs)}`}`];
  for (const { type, address, port, protocol } of probe.candidates) lines.push(`  ${type} ${bracketed(address)}:${port} ${protocol}`);
  for (const error of probe.errors) lines.push(`  error ${error.code}${error.text ? ` "${error.text}"` : ''}: ${meaning(error)}`);
  if (probe.loop) lines.push(`  call through it: ${loopInWords(probe.loop)}`);
  return lines;
}

/** What a loopback call came to, in a few words. */
export function loopInWords(loop) {
  if (!loop.works) return `failed, ${loop.reason}`;
  return `${milliseconds(loop.roundTripMs)} there and back, ${amount(loop.bytes)} moved in ${loop.seconds < 0.1 ? 'under 0.1' : loop.seconds.toFixed(1)} s`;
}

function amount(bytes) {
  return bytes < 1024 ? `${bytes} bytes` : `${Math.round(bytes / 1024)} KiB`;
}

function bracketed(address) {
  return address.includes(':') ? `[${address}]` : address;
}

function yesNo(works) {
  return works ? 'works' : 'does not work';
}
