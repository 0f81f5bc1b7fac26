// Numbers and names as people read them. Pure.

/** 1234567 -> "1,234,567" */
export function count(number) {
  return Math.round(number).toLocaleString('en');
}

/** "1 person", "2 people" */
export function counted(number, one, many = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

/** Bits in a second: "0", "512 bit/s", "12.4 Mbit/s". */
export function bits(perSecond) {
  return scaled(perSecond, ['bit/s', 'kbit/s', 'Mbit/s', 'Gbit/s']);
}

/** "3.4 MB" */
export function bytes(number) {
  return scaled(number, ['bytes', 'kB', 'MB', 'GB', 'TB']);
}

function scaled(number, units) {
  if (number === 0) return '0';
  let power = 0;
  while (number >= 1000 && power < units.length - 1) {
    number /= 1000;
    power += 1;
  }
  const digits = power === 0 || number >= 100 ? 0 : 1;
  // 999.96 kbit/s is read as 1 Mbit/s.
  const text = number.toFixed(digits);
  if (Number(text) >= 1000 && power < units.length - 1) return `1 ${units[power + 1]}`;
  return `${text.replace(/\.0$/, '')} ${units[power]}`;
}

/** "4 s", "12 min", "3 h", "2 d" */
export function age(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 90 * 60) return `${Math.round(seconds / 60)} min`;
  if (seconds < 36 * 3600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} d`;
}

/** What is left of a timer: "4:05", "1:00:00". */
export function clock(seconds) {
  const [hours, minutes, rest] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  const two = (number) => String(number).padStart(2, '0');
  return hours > 0 ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

/** A timer in a cell. */
export function timer(value) {
  if (!value) return '';
  return value.isPaused ? `${clock(value.timeRemaining)} paused` : clock(value.timeRemaining);
}

const TRANSPORTS = { udp: 'UDP', tcp: 'TCP', tls: 'TLS', dtls: 'DTLS' };

export function transport(name) {
  return TRANSPORTS[name] ?? name;
}

const REASONS = {
  unknown_protocol: 'Neither STUN nor channel data',
  malformed: 'Malformed',
  wrong_fingerprint: 'Wrong fingerprint',
  unknown_method: 'Unknown method',
  unknown_attribute: 'Unknown attribute',
  no_allocation: 'No allocation',
  no_channel: 'Channel not bound',
  no_permission: 'No permission for the peer',
  forbidden_peer: 'Peer forbidden by policy',
  too_long: 'Too long',
  over_limit: 'Over a bandwidth limit',
  icmp_over_limit: 'More ICMP than is told',
  wrong_transport: 'Data to a TCP allocation',
  too_many_connections: 'Too many peer connections',
  ambiguous: 'For one of several who share a port, and nothing tells whom',
  peer_taken: 'Peer of another who shares the port',
  unsent_to_peers: 'Not sent to peers',
  unsent_to_clients: 'Not sent to clients',
};

/** Why a packet was dropped. */
export function reason(name) {
  return REASONS[name] ?? name;
}

const DENIALS = {
  private: 'Private peers denied',
  loopback: 'Loopback peers denied',
  link_local: 'Link-local peers denied',
  reserved: 'Reserved peers denied',
  own: 'This server’s own listeners denied',
  named: 'Peers denied by peers.deny',
};

/** Which peers were denied. */
export function denial(name) {
  return DENIALS[name] ?? name;
}
