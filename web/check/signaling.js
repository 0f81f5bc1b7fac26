// Whether /socket.io/ is reached: Engine.IO's handshake over WebSocket, and over long-polling.

const PATIENCE_MS = 8_000;
const QUERY = 'EIO=4&transport=';

/** { websocket, polling }: which of the two transports this page can use. */
export async function checkSignaling() {
  const [websocket, polling] = await Promise.all([overWebSocket(), overPolling()]);
  return { websocket, polling };
}

/** The first thing that a server says is packet 0, `open`. */
function overWebSocket() {
  return new Promise((settle) => {
    const scheme = location.protocol === 'https:' ? 'wss:' : 'ws:';
    const socket = new WebSocket(`${scheme}//${location.host}/socket.io/?${QUERY}websocket`);
    const end = (works) => {
      clearTimeout(late);
      socket.onmessage = socket.onerror = socket.onclose = null;
      socket.close();
      settle(works);
    };
    const late = setTimeout(() => end(false), PATIENCE_MS);
    socket.onmessage = ({ data }) => end(typeof data === 'string' && data.startsWith('0{'));
    socket.onerror = () => end(false);
    socket.onclose = () => end(false);
  });
}

async function overPolling() {
  const url = `/socket.io/?${QUERY}polling`;
  const request = { cache: 'no-store', signal: AbortSignal.timeout(PATIENCE_MS) };
  try {
    const response = await fetch(url, request);
    const text = await response.text();
    if (!response.ok || !text.startsWith('0{')) return false;
    // Packet 1, `close`: the server needs not keep what nobody will use.
    const { sid } = JSON.parse(text.slice(1));
    await fetch(`${url}&sid=${encodeURIComponent(sid)}`, { ...request, method: 'POST', body: '1' }).catch(() => {});
    return true;
  } catch {
    return false;
  }
}
