import assert from 'node:assert/strict'
import { test } from 'node:test'
import { TRANSPORTS, ask, connect, counts, done, eventually, heard, member, next, unique } from './harness.js'

for (const transports of TRANSPORTS) {
  test(`two people meet (${transports})`, async () => {
    const session = unique('s')
    const alice = await member(session, 'alice', { transports, name: 'Alice' })
    assert.deepEqual(alice.joined.participants, ['alice'])
    assert.deepEqual(alice.joined.participantNames, { alice: 'Alice' })

    const bob = await member(session, 'bob', { transports })
    assert.deepEqual(bob.joined.participants, ['alice', 'bob'])
    assert.deepEqual(bob.joined.participantNames, { alice: 'Alice', bob: 'bob' })

    const room = await next(alice, 'session-joined')
    assert.deepEqual(room, {
      sessionId: session,
      participants: ['alice', 'bob'],
      participantNames: { alice: 'Alice', bob: 'bob' },
    })
    assert.deepEqual(await next(alice, 'participant-joined'), {
      sessionId: session, participantId: 'bob', participantName: 'bob',
    })
    assert.deepEqual(await heard(bob), [], 'the newcomer is not told of those who were there')

    await done(bob, 'leave-session', { participantId: 'bob' })
    assert.deepEqual(await next(bob, 'session-left'), { sessionId: session, participantId: 'bob' })
    assert.deepEqual(await next(alice, 'participant-left'), { sessionId: session, participantId: 'bob' })
    bob.disconnect()
    await eventually(async () => (await heard(alice)).length === 0, 'quiet')
    assert.deepEqual(await heard(alice), [], 'the later disconnect tells nobody again')
  })

  test(`a lost transport is announced once (${transports})`, async () => {
    const session = unique('s')
    const alice = await member(session, 'alice', { transports })
    const bob = await member(session, 'bob', { transports })
    await next(alice, 'participant-joined')
    bob.io.engine.close()
    assert.deepEqual(await next(alice, 'participant-left'), { sessionId: session, participantId: 'bob' })
    assert.deepEqual((await heard(alice)).filter(([event]) => event === 'participant-left'), [])
  })
}

test('only the joiner is given credentials', async () => {
  const session = unique('s')
  const alice = await member(session, 'alice')
  const bob = await member(session, 'bob')
  for (const joined of [alice.joined, bob.joined]) {
    const relays = joined.iceServers.filter(({ username }) => username)
    assert.equal(relays.length > 0 && relays.length < joined.iceServers.length, true, 'STUN and TURN')
    for (const { username } of relays) assert.match(username, /^\d+:(alice|bob)$/)
    assert.match(joined.iceExpiresAt, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
  }
  await done(bob, 'join-session', { participantId: 'bob' })
  for (const [event, payload] of await heard(alice)) {
    assert.equal(event === 'session-joined' || event === 'participant-joined', true)
    assert.equal('iceServers' in payload || 'iceExpiresAt' in payload, false)
  }
})

test('a join is acknowledged with what the joiner is told', async () => {
  const session = unique('s')
  const alice = await connect()
  const ack = await ask(alice, 'join-session', { sessionId: session, participantId: 'alice', participantName: '' })
  const { ok, ...rest } = ack
  assert.equal(ok, true)
  assert.deepEqual(await next(alice, 'session-joined'), rest)
  assert.deepEqual(rest.participantNames, { alice: 'alice' }, 'an empty name falls back to the id')
})

test('the same socket joins again without noise', async () => {
  const session = unique('s')
  const alice = await member(session, 'alice')
  const bob = await member(session, 'bob')
  await heard(alice)
  for (let i = 0; i < 3; i++) await done(bob, 'join-session', { participantId: 'bob' })
  assert.deepEqual((await heard(alice)).map(([event]) => event), Array(3).fill('session-joined'))
  assert.deepEqual((await heard(bob)).map(([event]) => event), Array(3).fill('session-joined'))
})

test('a second socket is announced again, and losing it is no leave', async () => {
  const session = unique('s')
  const alice = await member(session, 'alice')
  const first = await member(session, 'bob', { name: 'Bob' })
  const second = await member(session, 'bob')
  assert.deepEqual(second.joined.participants, ['alice', 'bob'])
  for (let i = 0; i < 2; i++) {
    assert.equal((await next(alice, 'participant-joined')).participantName, 'Bob')
  }
  const { participants } = await counts()
  first.disconnect()
  await ask(alice, 'webrtc-offer', { type: 'offer', sessionId: session, from: 'alice', to: 'bob', data: null })
  await next(second, 'webrtc-offer')
  assert.deepEqual((await heard(alice)).filter(([event]) => event === 'participant-left'), [])
  assert.equal((await counts()).participants, participants)
  second.disconnect()
  await next(alice, 'participant-left')
})

test('an explicit leave is announced though the other socket stays a member', async () => {
  const session = unique('s')
  const alice = await member(session, 'alice')
  const first = await member(session, 'bob')
  const second = await member(session, 'bob')
  await done(first, 'leave-session', { participantId: 'bob' })
  await next(alice, 'participant-left')
  await next(first, 'session-left')
  await ask(alice, 'webrtc-offer', { type: 'offer', sessionId: session, from: 'alice', to: 'bob', data: null })
  await next(second, 'webrtc-offer')
  assert.equal((await heard(first)).some(([event]) => event === 'webrtc-offer'), false)
  await ask(second, 'webrtc-answer', { type: 'answer', sessionId: session, from: 'bob', to: 'alice', data: null })
  await next(alice, 'webrtc-answer')
  second.disconnect()
  const carol = await member(session, 'carol')
  assert.deepEqual(carol.joined.participants, ['alice', 'carol'])
  assert.equal((await heard(alice)).some(([event]) => event === 'participant-left'), false, 'told once')
})

test('joining another session leaves the first', async () => {
  const [one, two] = [unique('s'), unique('s')]
  const alice = await member(one, 'alice')
  const bob = await member(one, 'bob')
  await done(bob, 'join-session', { sessionId: two, participantId: 'bob' })
  await next(alice, 'participant-left', ({ participantId }) => participantId === 'bob')
  await ask(alice, 'webrtc-offer', { type: 'offer', sessionId: one, from: 'alice', to: 'all', data: null })
  const events = (await heard(bob)).filter(([, payload]) => payload.sessionId === one).map(([event]) => event)
  assert.equal(events.includes('webrtc-offer'), false)
})

test('who leaves a session they are not in is told that they left', async () => {
  const alice = await connect()
  const ack = await ask(alice, 'leave-session', { sessionId: 'nowhere', participantId: 'alice' })
  assert.deepEqual(ack, { ok: true })
  assert.deepEqual(await next(alice, 'session-left'), { sessionId: 'nowhere', participantId: 'alice' })
  assert.deepEqual(alice.told, [])
})

test('of two who join at once exactly one is told of the other', async () => {
  for (let round = 0; round < 20; round++) {
    const session = unique('s')
    const pair = await Promise.all([connect(), connect({ transports: ['polling'] })])
    await Promise.all(pair.map((client, i) =>
      ask(client, 'join-session', { sessionId: session, participantId: `p${i}` })))
    const told = await Promise.all(pair.map(heard))
    const announced = told.map((events) => events.filter(([event]) => event === 'participant-joined').length)
    assert.equal(announced[0] + announced[1], 1, `announced: ${announced}`)
    pair.forEach((client) => client.disconnect())
  }
})

test('a hundred join at once, and all agree on who is here', async () => {
  const session = unique('s')
  const clients = await Promise.all(Array.from({ length: 100 }, (_, i) =>
    connect({ transports: TRANSPORTS[i % TRANSPORTS.length] })))
  await Promise.all(clients.map((client, i) =>
    ask(client, 'join-session', { sessionId: session, participantId: `p${i}` })))
  const told = await Promise.all(clients.map(heard))
  const announced = told.flat().filter(([event]) => event === 'participant-joined')
  assert.equal(announced.length, (100 * 99) / 2, 'one announcement for each pair')
  const last = told.map((events) => events.findLast(([event]) => event === 'session-joined')[1].participants)
  for (const participants of last) assert.deepEqual(participants, last[0])
  assert.equal(new Set(last[0]).size, 100)
  clients.forEach((client) => client.disconnect())
})

test('counts follow who is here', async () => {
  const before = await counts()
  const session = unique('s')
  const alice = await member(session, 'alice')
  const bob = await member(session, 'bob')
  let now = await counts()
  assert.equal(now.sessions - before.sessions <= 1, true)
  await eventually(async () => (await counts()).participants >= 2, 'two counted')
  alice.disconnect()
  bob.disconnect()
  await eventually(async () => {
    now = await counts()
    return now.sessions <= before.sessions
  }, 'the session is gone')
})

test('ids are taken as they are', async () => {
  const session = unique('सत्संग __proto__ 💧')
  for (const id of ['__proto__', 'a"b\\c', 'श्री', 'all', 'x'.repeat(256)]) {
    const client = await member(session, id)
    assert.equal(client.joined.participants.at(-1), id)
    assert.equal(Object.getOwnPropertyNames(client.joined.participantNames).includes(id), true)
  }
})
