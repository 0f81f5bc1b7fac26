// Two members who wait to be sent away.

import { once } from 'node:events'
import { connect, unique } from './harness.js'

const session = unique('s')
const gone = [['websocket'], ['polling']].map(async (transports, i) => {
  const client = await connect({ transports })
  const disconnected = once(client, 'disconnect')
  client.emit('join-session', { sessionId: session, participantId: `p${i}` })
  await disconnected
})
await Promise.all(gone)
process.exit(0)
