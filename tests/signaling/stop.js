// Two members who wait to be sent away.

import assert from 'node:assert/strict'
import { ask, connect, next, occurs, unique } from './harness.js'

const session = unique('s')
const gone = [['websocket'], ['polling']].map(async (transports, i) => {
  const client = await connect({ transports })
  const disconnected = occurs(client, 'disconnect')
  await ask(client, 'join-session', { sessionId: session, participantId: `p${i}` })
  const { reconnectAfterMs } = await next(client, 'server-draining')
  assert.equal(Number.isInteger(reconnectAfterMs) && reconnectAfterMs > 0, true, String(reconnectAfterMs))
  await disconnected
})
await Promise.all(gone)
process.exit(0)
