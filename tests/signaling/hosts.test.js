// The server's settings: tokens, and only a host steers verse, queue, timer and end.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ask, connect, done, heard, next, refused, unique } from './harness.js'
import { token } from './jwt.js'

const STEERING = [
  ['change-verse', { verse: 1 }], ['verse-changed', { verse: 2, currentReader: null }],
  ['update-queue', { queue: ['alice'] }], ['reading-queue-update', { queue: ['alice', 'host'] }],
  ['start-session-timer', { duration: 60 }], ['pause-session-timer', {}], ['resume-session-timer', {}],
  ['session-timer-update', { timeLeft: 7 }], ['end-session', { reason: 'over' }],
]
const OWN = [
  ['get-queue', {}], ['get-ice-servers', {}], ['start-reading', { participantId: 'alice', verse: 1 }],
  ['skip-turn', { participantId: 'alice' }], ['finish-reading', { participantId: 'alice', verse: 1 }],
]

test('only a host steers', async () => {
  const session = unique('s')
  const alice = await joined(session, { sub: 'alice', role: 'reader' })
  const host = await joined(session, { sub: 'host', role: 'host' })
  await heard(host)
  for (const [event, payload] of [...STEERING, ['session-ended', {}]]) {
    await refused(alice, event, [{ sessionId: session, ...payload }], 'FORBIDDEN', event)
  }
  assert.deepEqual(await heard(host), [])
  for (const [event, payload] of STEERING) await done(host, event, payload)
  const events = new Set((await heard(alice)).map(([event]) => event))
  const told = ['verse-changed', 'queue-updated', 'reading-queue-update', 'session-timer-update', 'session-ended']
  for (const event of told) assert.equal(events.has(event), true, event)
})

test('everybody else reads and asks', async () => {
  const session = unique('s')
  const alice = await joined(session, { sub: 'alice' })
  const host = await joined(session, { sub: 'host', role: 'host' })
  await done(host, 'update-queue', { queue: ['alice', 'host'] })
  for (const [event, payload] of OWN) await done(alice, event, payload)
})

async function joined(session, claims) {
  const client = await connect({ id: claims.sub, auth: { token: token(claims) } })
  client.session = session
  assert.equal((await ask(client, 'join-session', { sessionId: session, participantId: claims.sub })).ok, true)
  await next(client, 'session-joined')
  return client
}
