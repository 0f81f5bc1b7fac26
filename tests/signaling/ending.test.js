import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as passes } from 'node:timers/promises'
import {
  ask, counts, done, eventually, heard, heardBut, member, next, refused, room, signal, told, unique,
} from './harness.js'

for (const event of ['end-session', 'session-ended']) {
  test(`${event} tells the room, the sender too, and nothing else`, async () => {
    const members = await room('alice', 'bob', 'carol')
    const [, bob] = members
    const sessionId = bob.session
    await done(bob, event, { reason: 'सत्सङ्ग समाप्त' })
    for (const client of members) {
      const ended = await told(client, 'session-ended')
      if (event === 'end-session') assert.deepEqual(ended, { sessionId, reason: 'सत्सङ्ग समाप्त' })
      assert.deepEqual([ended.sessionId, typeof ended.reason], [sessionId, 'string'])
      assert.deepEqual(await heard(client), [])
    }
  })
}

for (const event of ['end-session', 'session-ended']) {
  test(`${event} without a reason has one`, async () => {
    const [alice, bob] = await room('alice', 'bob')
    await done(alice, event)
    const { reason } = await told(bob, 'session-ended')
    assert.equal(typeof reason === 'string' && reason !== '', true)
  })
}

test('only a member ends a session', async () => {
  const [alice, bob] = await circle('alice', 'bob')
  const [stranger] = await room('alice')
  for (const event of ['end-session', 'session-ended']) {
    await refused(stranger, event, [{ sessionId: alice.session, reason: 'mine' }], 'NOT_IN_SESSION', event)
  }
  for (const client of [alice, bob]) assert.deepEqual(await heard(client), [])
  const carol = await member(alice.session, 'carol')
  assert.deepEqual(carol.joined.participants, ['alice', 'bob', 'carol'])
})

test('of an ended session nothing is left', async () => {
  const [alice, bob] = await circle('alice', 'bob')
  await done(alice, 'end-session', { reason: 'done' })
  for (const client of [alice, bob]) {
    await next(client, 'session-ended')
    await refused(client, 'get-queue', [{ sessionId: alice.session }], 'NOT_IN_SESSION', client.id_)
    const offer = signal(client, 'offer', 'all', null)
    await refused(client, 'webrtc-offer', [offer], 'NOT_IN_SESSION', client.id_)
  }
  const carol = await member(alice.session, 'carol')
  assert.deepEqual(carol.joined.participants, ['carol'])
  assert.deepEqual(await heard(carol), [], 'no queue, no verse, no timer')
  for (const client of [alice, bob]) assert.deepEqual(await heard(client), [], 'no part of what comes later')
})

test('an ended session counts no more', async () => {
  const before = await counts()
  const [alice] = await room('alice', 'bob', 'carol')
  await eventually(async () => (await counts()).sessions === before.sessions + 1, 'one session more')
  await done(alice, 'end-session')
  await eventually(async () => {
    const now = await counts()
    return now.sessions === before.sessions && now.participants === before.participants
  }, 'as before')
})

test('those who join again after the end make no noise for the others', async () => {
  const members = await circle('alice', 'bob', 'carol')
  await done(members[0], 'end-session', { reason: 'done' })
  for (const client of members) await next(client, 'session-ended')
  for (const client of members) {
    await done(client, 'join-session', { participantId: client.id_ })
    client.joined = await next(client, 'session-joined', ({ iceServers }) => iceServers)
  }
  assert.deepEqual(members[2].joined.participants, ['alice', 'bob', 'carol'])
  for (const client of members) assert.deepEqual(await heardBut(client, 'session-joined'), [])

  const [alice, bob] = members
  await ask(alice, 'webrtc-offer', signal(alice, 'offer', 'bob', 'again'))
  assert.equal((await next(bob, 'webrtc-offer')).data, 'again')
  bob.disconnect()
  await next(alice, 'participant-left')
})

test('one who was not there at the end is announced as ever', async () => {
  const [alice, bob] = await room('alice', 'bob')
  await done(alice, 'end-session')
  await next(bob, 'session-ended')
  await done(alice, 'join-session', { participantId: 'alice' })
  const bobsNew = await member(alice.session, 'bob')
  await next(alice, 'participant-joined', ({ participantId }) => participantId === 'bob')
  assert.deepEqual(bobsNew.joined.participants, ['alice', 'bob'])
})

for (const [what, go] of [
  ['went elsewhere', (client) => done(client, 'join-session', { sessionId: unique('s'), participantId: client.id_ })],
  ['left', (client) => done(client, 'leave-session', { participantId: client.id_ })],
]) {
  test(`one who ${what} after the end is announced as ever`, async () => {
    const [alice, bob] = await room('alice', 'bob')
    await done(alice, 'end-session')
    await next(bob, 'session-ended')
    await go(bob)
    await done(alice, 'join-session', { participantId: 'alice' })
    await heard(alice)
    const lefts = (await heard(bob)).filter(([event]) => event === 'session-left')
    assert.equal(lefts.length, what === 'left' ? 1 : 0)
    await done(bob, 'join-session', { participantId: 'bob' })
    const events = await heardBut(alice, 'session-joined')
    assert.deepEqual(events.map(([event, { participantId }]) => [event, participantId]), [['participant-joined', 'bob']])
  })
}

test('who disconnects after the end tells nobody', async () => {
  const [alice, bob] = await room('alice', 'bob')
  await done(alice, 'end-session')
  await done(alice, 'join-session', { participantId: 'alice' })
  await heard(alice)
  bob.disconnect()
  const carol = await member(alice.session, 'carol')
  assert.deepEqual(await heardBut(alice, 'session-joined', 'participant-joined'), [])
  assert.deepEqual(carol.joined.participants, ['alice', 'carol'])
})

test('the timer of an ended session ticks no more, not even in a new one of its name', async () => {
  const [alice, bob] = await room('alice', 'bob')
  await done(alice, 'start-session-timer', { duration: 5 })
  await done(alice, 'end-session')
  await done(bob, 'join-session', { participantId: 'bob' })
  await Promise.all([alice, bob].map(heard))
  // As long as it would have taken for the last tick and the end.
  await passes(6500)
  for (const client of [alice, bob]) assert.deepEqual(await heard(client), [])
})

test('of two who end a session at once one is late, and the room is told once', async () => {
  const members = await room('alice', 'bob', 'carol')
  const acks = await Promise.all(members.map((client) => ask(client, 'end-session', { sessionId: client.session })))
  assert.equal(acks.some(({ ok }) => ok), true)
  for (const client of members) {
    const events = await heardBut(client, 'error')
    assert.deepEqual(events.map(([event]) => event), ['session-ended'])
  }
})

/** Members of a session with a queue, a verse and a timer. */
async function circle(...ids) {
  const members = await room(...ids)
  await done(members[0], 'update-queue', { queue: ids })
  await done(members[0], 'change-verse', { verse: { n: 1 } })
  await done(members[0], 'start-session-timer', { duration: 600 })
  await Promise.all(members.map(heard))
  return members
}
