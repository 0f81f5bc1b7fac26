// The server's settings: five connections from one source.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { connect, connectError, eventually, occurs, prepare } from './harness.js'

const CONNECTIONS = 5

for (const transports of [['websocket'], ['polling']]) {
  test(`a source has so many connections, and is told when it asks for more (${transports})`, async () => {
    const clients = []
    for (let i = 0; i < CONNECTIONS; i++) clients.push(await connect({ transports }))
    const error = await connectError({ transports })
    assert.equal(error.data?.code, 'LIMIT_EXCEEDED')
    assert.match(error.message, /limits\.connections_per_source/)
    assert.equal(clients.every(({ connected }) => connected), true)
    clients.forEach((client) => client.disconnect())
    await eventually(async () => {
      const client = prepare({ transports })
      const outcome = Promise.race([occurs(client, 'connect'), occurs(client, 'connect_error')])
      client.connect()
      await outcome
      const { connected } = client
      client.disconnect()
      return connected
    }, 'there is room again')
  })
}
