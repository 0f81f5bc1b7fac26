// Members of sessions without a page.

import { io } from 'socket.io-client';

/** The socket of somebody who has joined; `who`: { sessionId, participantId, participantName }. */
export async function join(setu, who) {
  const socket = io(`http://127.0.0.1:${setu.port}`, { transports: ['websocket'], forceNew: true, reconnection: false });
  await new Promise((connected, failed) => socket.on('connect', connected).on('connect_error', failed));
  await socket.emitWithAck('join-session', who);
  return socket;
}
