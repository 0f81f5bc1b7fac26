import assert from 'node:assert/strict'
import { test } from 'node:test'
import { TRANSPORTS, ask, connect, done, heard, member, next, refused, room, signal, unique } from './harness.js'

const SIGNALS = ['webrtc-offer', 'webrtc-answer', 'webrtc-ice-candidate', 'webrtc-signaling']
// A reader's own deeds.
const DEEDS = [
  'start-reading', 'finish-reading', 'skip-reading', 'skip-turn', 'update-reading-status', 'request-next-verse',
]
const WITH_PARTICIPANT = ['join-session', 'leave-session', ...SIGNALS, ...DEEDS]
const WITH_SESSION = [
  ...WITH_PARTICIPANT, 'get-ice-servers', 'verse-changed', 'change-verse', 'update-queue', 'get-queue',
  'reading-queue-update', 'start-session-timer', 'pause-session-timer', 'resume-session-timer', 'session-timer-update',
  'end-session', 'session-ended',
]
const HEARD = [...WITH_SESSION, 'parser-status-update', 'parser-log', 'parser-progress-update', 'parser-stats-update']
const LONG = 'x'.repeat(257)
// Enough for any event.
const WHOLE = {
  sessionId: 's', participantId: 'alice', from: 'alice', verse: 1, currentReader: 'alice', queue: ['alice'],
  status: 'reading', duration: 60, timeLeft: 60, reason: 'over',
}

const NO_OBJECTS = [
  ['null', [null]], ['nothing', []], ['a string', ['text']], ['a number', [7]], ['true', [true]], ['an array', [[1]]],
]
for (const event of HEARD) {
  test(`${event} wants an object`, async () => {
    const client = await connect()
    for (const [what, payload] of NO_OBJECTS) await refused(client, event, payload, 'INVALID_PAYLOAD', what)
  })
}

for (const event of WITH_SESSION) {
  test(`${event} wants a session id`, async () => {
    const client = await connect()
    for (const sessionId of [undefined, null, '', 7, {}, ['s'], LONG]) {
      const payload = { ...WHOLE, sessionId }
      await refused(client, event, [payload], 'INVALID_SESSION_ID', JSON.stringify(sessionId))
    }
  })
}

for (const event of WITH_PARTICIPANT) {
  test(`${event} wants a participant id`, async () => {
    const client = await connect()
    for (const id of [undefined, null, '', 7, {}, ['s'], LONG]) {
      const payload = { ...WHOLE, participantId: id, from: id }
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

for (const event of ['update-queue', 'reading-queue-update']) {
  test(`${event} wants a queue of ids`, async () => {
    const [alice, bob] = await room('alice', 'bob')
    const queues = [undefined, null, 'alice', 7, true, {}, [7], [''], [null], [['alice']], ['alice', LONG]]
    for (const queue of queues) {
      await refused(alice, event, [{ sessionId: alice.session, queue }], 'INVALID_QUEUE', JSON.stringify(queue))
    }
    assert.deepEqual(await heard(bob), [])
    await done(bob, 'get-queue')
    assert.deepEqual((await next(bob, 'queue-updated')).queue, [])
  })
}

test('a status is reading, finished or skipped', async () => {
  const [alice, bob] = await room('alice', 'bob')
  for (const status of [undefined, null, '', 'done', 'READING', 7, {}, ['reading']]) {
    const payload = { sessionId: alice.session, participantId: 'alice', status }
    await refused(alice, 'update-reading-status', [payload], 'INVALID_STATUS', JSON.stringify(status))
  }
  assert.deepEqual(await heard(bob), [])
})

for (const transports of TRANSPORTS) {
  test(`only members are heard (${transports})`, async () => {
    const bob = await member(unique('s'), 'bob', { transports })
    const stranger = await member(unique('s'), 'bob', { transports })
    await heard(bob)
    const payload = { ...signal(stranger, 'offer', 'bob', null), sessionId: bob.session }
    for (const event of WITH_SESSION.filter((event) => !['join-session', 'leave-session'].includes(event))) {
      const whole = { ...WHOLE, ...payload, participantId: 'bob', from: 'bob' }
      await refused(stranger, event, [whole], 'NOT_IN_SESSION', event)
    }
    assert.deepEqual(await heard(bob), [])
  })

  test(`nobody speaks or leaves for another (${transports})`, async () => {
    const session = unique('s')
    const alice = await member(session, 'alice', { transports })
    const bob = await member(session, 'bob', { transports })
    await heard(alice)
    const forged = { ...signal(bob, 'offer', 'all', null), from: 'alice' }
    for (const event of SIGNALS) await refused(bob, event, [forged], 'FORBIDDEN', event)
    for (const event of DEEDS) {
      await refused(bob, event, [{ ...WHOLE, sessionId: session, participantId: 'alice' }], 'FORBIDDEN', event)
    }
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
    'reading-finished', 'error', 'ice-servers', 'server-draining', 'parser-monitor-subscribed', 'test-response',
    'whatever', '', '__proto__', 'constructor',
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
