// Two thousand join at once: four hundred sessions of five.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { URLS, ask, counts, eventually, next, occurs, prepare, unique, within } from './harness.js'

const SESSIONS = 400
const PEOPLE = 5
const PATIENCE_MS = 90_000

test('two thousand who join at once all meet', { timeout: 2 * PATIENCE_MS }, async () => {
  const clients = []
  for (let i = 0; i < SESSIONS; i++) {
    const session = unique('s')
    for (let person = 0; person < PEOPLE; person++) {
      const client = prepare({ id: `p${person}`, node: (i + person) % URLS.length, timeout: PATIENCE_MS })
      clients.push(Object.assign(client, { session }))
    }
  }
  const joined = clients.map(async (client) => {
    const connected = occurs(client, 'connect')
    client.connect()
    await connected
    client.emit('join-session', { sessionId: client.session, participantId: client.id_ })
  })
  await within(Promise.all(joined), () => 'all connected', PATIENCE_MS)
  const everybody = Array.from({ length: PEOPLE }, (_, person) => `p${person}`).join()
  const last = (client) => client.told.findLast(([event]) => event === 'session-joined')?.[1].participants ?? []
  const met = (client) => [...last(client)].sort().join() === everybody
  await eventually(() => clients.every(met), 'all met', PATIENCE_MS)
  const heardOf = (client) => client.told.filter(([event]) => event === 'participant-joined')
  const pairs = (PEOPLE * (PEOPLE - 1)) / 2
  await eventually(() => clients.flatMap(heardOf).length >= SESSIONS * pairs, 'all announced', PATIENCE_MS)

  for (let i = 0; i < clients.length; i += PEOPLE) {
    const session = clients.slice(i, i + PEOPLE)
    const orders = session.map((client) => last(client).join())
    assert.equal(new Set(orders).size, 1, `one order: ${orders}`)
    assert.equal(session.flatMap(heardOf).length, pairs, 'one announcement for each pair')
    assert.equal(session.every(({ told }) => told.every(([event]) => event !== 'participant-left')), true)
  }
  const { sessions, participants } = await counts()
  assert.deepEqual([sessions, participants], [SESSIONS, SESSIONS * PEOPLE])

  const [one, , , , five] = clients
  await ask(one, 'webrtc-offer', { type: 'offer', sessionId: one.session, from: one.id_, to: five.id_, data: 'hello' })
  assert.equal((await next(five, 'webrtc-offer')).data, 'hello')
  clients.forEach((client) => client.disconnect())
  await eventually(async () => (await counts()).participants === 0, 'all gone', PATIENCE_MS)
})
