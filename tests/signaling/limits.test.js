// The server's settings: 50 events per second and socket, three participants in a session, four sessions.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as passes } from 'node:timers/promises'
import {
  DEADLINE_MS, ask, connect, done, heard, heardBut, member, next, occurs, refused, signal, unique, within,
} from './harness.js'

const EVENTS_PER_SECOND = 50
const PARTICIPANTS = 3
const SESSIONS = 4

test('a session that is full takes nobody more, until somebody leaves', async () => {
  const session = unique('s')
  const members = []
  for (let i = 0; i < PARTICIPANTS; i++) members.push(await member(session, `p${i}`))
  for (const client of members) await heard(client)
  const late = await connect({ id: 'late' })
  const join = { sessionId: session, participantId: 'late' }
  await refused(late, 'join-session', [join], 'LIMIT_EXCEEDED', 'one too many')
  for (const client of members) assert.deepEqual(await heard(client), [])

  const second = await member(session, 'p0')
  assert.equal(second.joined.participants.length, PARTICIPANTS, 'a second socket is no second participant')
  await done(members[1], 'leave-session', { participantId: 'p1' })
  assert.equal((await ask(late, 'join-session', join)).ok, true)
  ;[...members, second, late].forEach((client) => client.disconnect())
})

test('the refusal names the limit', async () => {
  const session = unique('s')
  const members = []
  for (let i = 0; i < PARTICIPANTS; i++) members.push(await member(session, `p${i}`))
  const late = await connect()
  const { error } = await ask(late, 'join-session', { sessionId: session, participantId: 'late' })
  assert.match(error.message, /signaling\.participants_per_session/)
  ;[...members, late].forEach((client) => client.disconnect())
})

test('when there are as many sessions as may be, no other begins, until one ends', async () => {
  const members = []
  // Sessions of the tests before may take a moment to end.
  for (let i = 0; i < SESSIONS;) {
    const client = await connect()
    const session = unique('s')
    const { ok } = await ask(client, 'join-session', { sessionId: session, participantId: 'alice' })
    if (!ok) {
      client.disconnect()
      continue
    }
    i++
    client.session = session
    members.push(client)
  }
  const late = await connect()
  const join = { sessionId: unique('s'), participantId: 'late' }
  await refused(late, 'join-session', [join], 'LIMIT_EXCEEDED', 'one too many')
  assert.match((await ask(late, 'join-session', join)).error.message, /signaling\.sessions/)
  const inside = { sessionId: members[0].session, participantId: 'late' }
  assert.equal((await ask(late, 'join-session', inside)).ok, true, 'the sessions there are take more')
  await done(members[1], 'end-session')
  const other = await connect()
  assert.equal((await ask(other, 'join-session', join)).ok, true)
  ;[...members, late, other].forEach((client) => client.disconnect())
})

test('who says too much at once is refused for a while, and is heard again', async () => {
  const session = unique('s')
  const [alice, bob] = [await member(session, 'alice'), await member(session, 'bob')]
  await heard(bob)
  await passes(1000)
  const acks = await Promise.all(Array.from({ length: 3 * EVENTS_PER_SECOND }, (_, i) =>
    ask(alice, 'webrtc-offer', signal(alice, 'offer', 'bob', i))))
  const taken = acks.filter(({ ok }) => ok).length
  assert.equal(taken >= 2 * EVENTS_PER_SECOND, true, `a burst of twice the rate passes: ${taken}`)
  assert.equal(taken < 3 * EVENTS_PER_SECOND, true, 'and no more')
  for (const { error } of acks.filter(({ ok }) => !ok)) {
    assert.equal(error.code, 'LIMIT_EXCEEDED')
    assert.match(error.message, /signaling\.events_per_second/)
  }
  assert.equal((await next(alice, 'error')).code, 'LIMIT_EXCEEDED')
  assert.equal(alice.connected, true)
  const offers = (await heard(bob)).map(([, { data }]) => data)
  assert.deepEqual(offers, acks.flatMap(({ ok }, i) => (ok ? [i] : [])), 'what was taken arrived in order')

  await passes(1000)
  await done(alice, 'webrtc-offer', signal(alice, 'offer', 'bob', 'again'))
  assert.equal((await next(bob, 'webrtc-offer')).data, 'again')
  alice.disconnect()
  bob.disconnect()
})

test('one who keeps to the rate is never refused', async () => {
  const alice = await member(unique('s'), 'alice')
  for (let i = 0; i < EVENTS_PER_SECOND * 2; i++) {
    assert.equal((await ask(alice, 'webrtc-offer', signal(alice, 'offer', 'all', i))).ok, true)
    await passes(1000 / EVENTS_PER_SECOND)
  }
  alice.disconnect()
})

test('a flood that goes on ends its own connection only', async () => {
  const session = unique('s')
  const [alice, bob] = [await member(session, 'alice'), await member(session, 'bob')]
  await heard(bob)
  const gone = occurs(alice, 'disconnect')
  const offer = signal(alice, 'offer', 'bob', null)
  const end = Date.now() + DEADLINE_MS
  while (alice.connected && Date.now() < end) {
    for (let i = 0; i < 200; i++) alice.emit('webrtc-offer', offer)
    await passes(5)
  }
  await within(gone, () => 'disconnect')
  await next(bob, 'participant-left')
  assert.equal((await heardBut(bob, 'webrtc-offer')).length, 0)
  assert.equal(bob.connected, true)
  bob.disconnect()
})

for (const [what, data] of [
  ['a long text', 'x'.repeat(1_000_001)],
  ['much Devanagari', 'श्री'.repeat(100_000)],
  ['three megabytes', 'x'.repeat(3_000_000)],
]) {
  test(`a payload that is too large is refused, and the connection kept (${what})`, async () => {
    const session = unique('s')
    const [alice, bob] = [await member(session, 'alice'), await member(session, 'bob')]
    await heard(bob)
    await refused(alice, 'webrtc-offer', [signal(alice, 'offer', 'bob', data)], 'LIMIT_EXCEEDED', what)
    const { error } = await ask(alice, 'change-verse', { sessionId: session, verse: data })
    assert.match(error.message, /signaling\.payload_bytes/)
    assert.deepEqual(await heard(bob), [])
    await done(alice, 'webrtc-offer', signal(alice, 'offer', 'bob', 'small'))
    assert.equal((await next(bob, 'webrtc-offer')).data, 'small')
    alice.disconnect()
    bob.disconnect()
  })
}
