// Where each number of a point in time stands; see history.rs.

export const AT = 0;
export const SESSIONS = 1;
export const PEOPLE = 2;
export const ALLOCATIONS = 3;
export const PORTS = 4;
export const PACKETS_TO_PEERS = 5;
export const BITS_TO_PEERS = 6;
export const PACKETS_TO_CLIENTS = 7;
export const BITS_TO_CLIENTS = 8;
export const DROPS = 9;
export const FAILED = 10;
