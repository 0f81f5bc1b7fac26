import assert from 'node:assert/strict'
import { test } from 'node:test'
import { TRANSPORTS, ask, connect, heard, member, next, signal, unique } from './harness.js'

const HEARD = [
  'join-session', 'leave-session', 'webrtc-offer', 'webrtc-answer', 'webrtc-ice-candidate', 'webrtc-signaling',
  'get-ice-servers',
]
const LONG = 'x'.repeat(257)

const NO_OBJECTS = [
  ['null', [null]], ['nothing', []], ['a string', ['text']], ['a number', [7]], ['true', [true]], ['an array', [[1]]],
]
for (const event of HEARD) {
  test(`${event} wants an object`, async () => {
    const client = await connect()
    for (const [what, payload] of NO_OBJECTS) await refused(client, event, payload, 'INVALID_PAYLOAD', what)
  })

  test(`${event} wants a session id`, async () => {
    const client = await connect()
    for (const sessionId of [undefined, null, '', 7, {}, ['s'], LONG]) {
      const payload = { sessionId, participantId: 'alice', from: 'alice' }
      await refused(client, event, [payload], 'INVALID_SESSION_ID', JSON.stringify(sessionId))
    }
  })
}

for (const event of HEARD.filter((event) => event !== 'get-ice-servers')) {
  test(`${event} wants a participant id`, async () => {
    const client = await connect()
    for (const id of [undefined, null, '', 7, {}, ['s'], LONG]) {
      const payload = { sessionId: 's', participantId: id, from: id }
      await refused(client, event, [payload], 'INVALID_PARTICIPANT_ID', JSON.stringify(id))
    }
  })
}

test('a name is a string of at most 256 bytes', async () => {
  const client = await connect()
  for (const participantName of [7, {}, ['a'], true, LONG, 'श्री'.repeat(22)]) {
    const payload = { sessionId: 's', participantId: 'alice', participantName }
    await refused(client, 'join-session', [payload], 'INVALID_NAME', JSON.stringify(participantName))
  }
})

test('to is a string or null', async () => {
  const alice = await member(unique('s'), 'alice')
  for (const to of [7, {}, ['bob'], true, LONG]) {
    await refused(alice, 'webrtc-offer', [signal(alice, 'offer', to, null)], 'INVALID_PARTICIPANT_ID', String(to))
  }
})

for (const transports of TRANSPORTS) {
  test(`only members are heard (${transports})`, async () => {
    const bob = await member(unique('s'), 'bob', { transports })
    const stranger = await member(unique('s'), 'bob', { transports })
    await heard(bob)
    const payload = { ...signal(stranger, 'offer', 'bob', null), sessionId: bob.session }
    for (const event of ['webrtc-offer', 'webrtc-signaling']) {
      await refused(stranger, event, [payload], 'NOT_IN_SESSION', event)
    }
    await refused(stranger, 'get-ice-servers', [{ sessionId: bob.session }], 'NOT_IN_SESSION', 'ice')
    assert.deepEqual(await heard(bob), [])
  })

  test(`nobody speaks or leaves for another (${transports})`, async () => {
    const session = unique('s')
    const alice = await member(session, 'alice', { transports })
    const bob = await member(session, 'bob', { transports })
    await heard(alice)
    const forged = { ...signal(bob, 'offer', 'all', null), from: 'alice' }
    await refused(bob, 'webrtc-offer', [forged], 'FORBIDDEN', 'from')
    await refused(bob, 'leave-session', [{ sessionId: session, participantId: 'alice' }], 'FORBIDDEN', 'leave')
    assert.deepEqual(await heard(alice), [])
  })
}

test('who left is heard no more', async () => {
  const session = unique('s')
  const alice = await member(session, 'alice')
  const bob = await member(session, 'bob')
  await ask(bob, 'leave-session', { sessionId: session, participantId: 'bob' })
  await next(bob, 'session-left')
  await refused(bob, 'webrtc-offer', [signal(bob, 'offer', 'alice', null)], 'NOT_IN_SESSION', 'offer')
  await heard(alice)
})

test('unknown events and the server’s own are ignored in silence', async () => {
  const session = unique('s')
  const alice = await member(session, 'alice')
  const bob = await member(session, 'bob')
  await heard(alice)
  const events = [
    'session-joined', 'session-left', 'participant-joined', 'participant-left', 'queue-updated', 'reading-started',
    'reading-finished', 'error', 'ice-servers', 'whatever', '', '__proto__',
  ]
  for (const event of events) {
    bob.emit(event)
    bob.emit(event, null)
    bob.emit(event, { sessionId: session, participantId: 'bob' })
  }
  assert.deepEqual(await heard(bob), [])
  assert.deepEqual(await heard(alice), [])
})

test('a refusal is an error event too when nobody asked for an acknowledgement', async () => {
  const client = await connect()
  client.emit('join-session', { sessionId: '' })
  const error = await next(client, 'error')
  assert.equal(error.code, 'INVALID_SESSION_ID')
  assert.equal(typeof error.message, 'string')
  assert.deepEqual(Object.keys(error).sort(), ['code', 'message'])
  assert.equal(client.connected, true)
})

test('attachments are no JSON', async () => {
  const alice = await member(unique('s'), 'alice')
  await refused(alice, 'join-session', [Buffer.from('x')], 'INVALID_PAYLOAD', 'bytes')
  assert.deepEqual(await ask(alice, 'webrtc-offer', signal(alice, 'offer', 'all', null)), { ok: true })
})

async function refused(client, event, payload, code, what) {
  const ack = await ask(client, event, ...payload)
  assert.equal(ack.ok, false, what)
  assert.equal(ack.error.code, code, what)
  assert.deepEqual(await next(client, 'error'), ack.error, what)
  assert.equal(client.connected, true, what)
}
