import assert from 'node:assert/strict'
import { test } from 'node:test'
import { URLS, ask, connect, done, heard, member, next, room, told, unique } from './harness.js'

const VERSE = { chapter: 2, verse: 47, text: 'कर्मण्येवाधिकारस्ते मा फलेषु कदाचन', deep: [{ n: 1.5 }, null] }
const OTHER_VERSE = { chapter: 2, verse: 48 }

test('a changed verse is told to the room, with the present reader', async () => {
  const members = await circle(['bob', 'alice'], 'alice', 'bob', 'carol')
  const [, bob] = members
  await done(bob, 'change-verse', { verse: VERSE })
  await allHear(members, ['verse-changed', { verse: VERSE, currentReader: 'bob' }])
})

test('without a reader the verse is told with none', async () => {
  const members = await room('alice', 'bob')
  await done(members[0], 'change-verse', { verse: VERSE })
  await allHear(members, ['verse-changed', { verse: VERSE, currentReader: null }])
})

test('verse-changed stores verse and reader, and is told only when something changed', async () => {
  const members = await room('alice', 'bob', 'carol')
  const [alice, bob] = members
  const says = (client, verse, currentReader) => done(client, 'verse-changed', { verse, currentReader })
  await says(alice, VERSE, 'bob')
  await allHear(members, ['verse-changed', { verse: VERSE, currentReader: 'bob' }])
  await says(bob, VERSE, 'bob')
  await allHear(members)
  await says(bob, VERSE, 'carol')
  await allHear(members, ['verse-changed', { verse: VERSE, currentReader: 'carol' }])
  await says(alice, OTHER_VERSE, 'carol')
  await allHear(members, ['verse-changed', { verse: OTHER_VERSE, currentReader: 'carol' }])
})

for (const [what, verse] of [
  ['a string', 'श्लोक १'], ['a number', 7], ['an array', [1, 'two', null]], ['an empty object', {}],
  ['exact numbers', { small: 1.0000000000000002, large: 9007199254740993, exponent: 1e21 }],
  ['a hundred kilobytes of Devanagari', { text: 'धर्मक्षेत्रे कुरुक्षेत्रे '.repeat(1400) }],
]) {
  test(`a verse may be ${what}`, async () => {
    const [alice, bob] = await room('alice', 'bob')
    await done(alice, 'change-verse', { verse })
    assert.deepEqual((await told(bob, 'verse-changed')).verse, verse)
    const carol = await member(alice.session, 'carol')
    assert.deepEqual((await told(carol, 'verse-changed')).verse, verse)
  })
}

test('who starts reading is the reader', async () => {
  const members = await circle(['bob', 'alice'], 'alice', 'bob')
  const [alice] = members
  await done(alice, 'start-reading', { participantId: 'alice', verse: VERSE })
  await allHear(members, ['reading-started', { participantId: 'alice', verse: VERSE }])
  assert.deepEqual(await queueOf(alice), { queue: ['bob', 'alice'], currentReader: 'alice' })
})

test('who has finished is out of the queue, and its head reads next', async () => {
  const members = await circle(['alice', 'bob'], 'alice', 'bob', 'carol')
  const [alice, bob] = members
  await done(alice, 'finish-reading', { participantId: 'alice', verse: VERSE })
  await allHear(
    members,
    ['reading-finished', { participantId: 'alice', verse: VERSE }],
    ['queue-updated', { queue: ['bob'], currentReader: 'bob' }],
  )
  await done(bob, 'finish-reading', { participantId: 'bob', verse: OTHER_VERSE })
  await allHear(
    members,
    ['reading-finished', { participantId: 'bob', verse: OTHER_VERSE }],
    ['queue-updated', { queue: [], currentReader: null }],
  )
})

test('who finishes without being the reader leaves the reader in place', async () => {
  const members = await circle(['alice', 'bob', 'carol'], 'alice', 'bob', 'carol')
  await done(members[2], 'finish-reading', { participantId: 'carol', verse: VERSE })
  await allHear(
    members,
    ['reading-finished', { participantId: 'carol', verse: VERSE }],
    ['queue-updated', { queue: ['alice', 'bob'], currentReader: 'alice' }],
  )
})

test('who read out of turn gives the turn back to the head of the queue', async () => {
  const members = await circle(['alice', 'bob', 'carol'], 'alice', 'bob', 'carol')
  const [alice, , carol] = members
  await done(carol, 'start-reading', { participantId: 'carol', verse: VERSE })
  assert.equal((await queueOf(alice)).currentReader, 'carol')
  await done(carol, 'finish-reading', { participantId: 'carol', verse: VERSE })
  assert.deepEqual(await queueOf(alice), { queue: ['alice', 'bob'], currentReader: 'alice' })
})

for (const event of ['skip-reading', 'skip-turn']) {
  test(`${event} takes the reader to the end of the queue`, async () => {
    const members = await circle(['alice', 'bob', 'carol'], 'alice', 'bob', 'carol')
    const [alice, bob] = members
    await done(alice, event, { participantId: 'alice' })
    await allHear(members, ['queue-updated', { queue: ['bob', 'carol', 'alice'], currentReader: 'bob' }])
    await done(bob, event, { participantId: 'bob' })
    await allHear(members, ['queue-updated', { queue: ['carol', 'alice', 'bob'], currentReader: 'carol' }])
  })

  test(`${event} of the only one in the queue leaves the turn where it is`, async () => {
    const [alice] = await circle(['alice'], 'alice', 'bob')
    await done(alice, event, { participantId: 'alice' })
    assert.deepEqual(await queueOf(alice), { queue: ['alice'], currentReader: 'alice' })
  })
}

test('a status starts, finishes and skips with the stored verse, or null', async () => {
  const members = await circle(['alice', 'bob', 'carol'], 'alice', 'bob', 'carol')
  const [alice, bob] = members
  const status = (client, status) => done(client, 'update-reading-status', { participantId: client.id_, status })
  await status(alice, 'reading')
  await allHear(members, ['reading-started', { participantId: 'alice', verse: null }])
  await done(bob, 'change-verse', { verse: VERSE })
  await allHear(members, ['verse-changed', { verse: VERSE, currentReader: 'alice' }])
  await status(alice, 'skipped')
  await allHear(members, ['queue-updated', { queue: ['bob', 'carol', 'alice'], currentReader: 'bob' }])
  await status(bob, 'finished')
  await allHear(
    members,
    ['reading-finished', { participantId: 'bob', verse: VERSE }],
    ['queue-updated', { queue: ['carol', 'alice'], currentReader: 'carol' }],
  )
})

test('a wish for the next verse is relayed to the room', async () => {
  const members = await room('alice', 'bob')
  const [alice] = members
  await done(alice, 'request-next-verse', { participantId: 'alice' })
  for (const client of members) {
    const [[event, { sessionId, participantId }], ...more] = await heard(client)
    assert.deepEqual([event, sessionId, participantId], ['request-next-verse', alice.session, 'alice'])
    assert.deepEqual(more, [])
  }
})

test('a new queue has no doubles, and its reader stays, or is its head, or nobody', async () => {
  const members = await room('alice', 'bob')
  const [alice, bob] = members
  for (const [by, queue, kept, currentReader] of [
    [alice, ['bob', 'alice', 'bob', 'alice'], ['bob', 'alice'], 'bob'],
    [bob, ['alice', 'bob', 'carol'], ['alice', 'bob', 'carol'], 'bob'],
    [bob, ['nobody here', 'alice'], ['nobody here', 'alice'], 'nobody here'],
    [alice, ['alice'], ['alice'], 'alice'],
    [alice, [], [], null],
    [bob, ['bob'], ['bob'], 'bob'],
  ]) {
    await done(by, 'update-queue', { queue })
    await allHear(members, ['queue-updated', { queue: kept, currentReader }])
  }
})

test('the queue is told to who asks, and to nobody else', async () => {
  const [alice, bob] = await room('alice', 'bob')
  assert.deepEqual(await queueOf(alice), { queue: [], currentReader: null })
  await done(alice, 'update-queue', { queue: ['bob', 'alice'] })
  await Promise.all([alice, bob].map(heard))
  assert.deepEqual(await queueOf(bob), { queue: ['bob', 'alice'], currentReader: 'bob' })
  assert.deepEqual(await heard(alice), [])
})

test('reading-queue-update is told to the room when it changed the queue', async () => {
  const members = await room('alice', 'bob')
  const [alice, bob] = members
  await done(alice, 'reading-queue-update', { queue: ['bob', 'alice', 'bob'] })
  await allHear(members, ['reading-queue-update', { queue: ['bob', 'alice'] }])
  await done(bob, 'reading-queue-update', { queue: ['bob', 'alice'] })
  await allHear(members)
  assert.deepEqual(await queueOf(alice), { queue: ['bob', 'alice'], currentReader: 'bob' })
})

for (const [how, go] of [
  ['leaves', (client) => ask(client, 'leave-session', { sessionId: client.session, participantId: client.id_ })],
  ['disconnects', (client) => client.disconnect()],
]) {
  test(`a reader who ${how} is out of the queue, and its next head reads`, async () => {
    const [alice, bob, carol] = await circle(['bob', 'alice', 'carol'], 'alice', 'bob', 'carol')
    await go(bob)
    for (const client of [alice, carol]) {
      const queue = await told(client, 'queue-updated')
      assert.deepEqual(queue, { sessionId: alice.session, queue: ['alice', 'carol'], currentReader: 'alice' })
      assert.deepEqual(await heard(client), [['participant-left', { sessionId: alice.session, participantId: 'bob' }]])
    }
  })

  test(`somebody in the queue who ${how} leaves the reader in place`, async () => {
    const [alice, bob, carol] = await circle(['alice', 'bob', 'carol'], 'alice', 'bob', 'carol')
    await go(bob)
    for (const client of [alice, carol]) {
      const { queue, currentReader } = await told(client, 'queue-updated')
      assert.deepEqual([queue, currentReader], [['alice', 'carol'], 'alice'])
    }
  })

  test(`somebody outside the queue who ${how} does not touch it`, async () => {
    const [alice, bob] = await circle(['alice'], 'alice', 'bob')
    await go(bob)
    await next(alice, 'participant-left')
    assert.deepEqual(await heard(alice), [])
    assert.deepEqual(await queueOf(alice), { queue: ['alice'], currentReader: 'alice' })
  })
}

test('the newcomer alone is told of queue, verse and timer', async () => {
  const members = await circle(['bob', 'alice'], 'alice', 'bob')
  const [alice, bob] = members
  await done(alice, 'change-verse', { verse: VERSE })
  await done(bob, 'start-session-timer', { duration: 600 })
  await Promise.all(members.map(heard))

  const carol = await member(alice.session, 'carol')
  const [sessionId, participantId] = [alice.session, 'carol']
  assert.deepEqual(await told(carol, 'queue-updated'), { sessionId, queue: ['bob', 'alice'], currentReader: 'bob' })
  assert.deepEqual(await told(carol, 'verse-changed'), { sessionId, verse: VERSE, currentReader: 'bob' })
  assert.deepEqual(await told(carol, 'session-timer-update'), {
    sessionId, timeRemaining: 600, timeLeft: 600, isActive: true, isPaused: false,
  })
  assert.deepEqual(await heard(carol), [])
  for (const client of members) {
    const events = (await heard(client)).filter(([event]) => event !== 'session-joined')
    assert.deepEqual(events, [['participant-joined', { sessionId, participantId, participantName: 'carol' }]])
  }
})

test('the first in a session is told of no queue, verse or timer', async () => {
  const alice = await member(unique('s'), 'alice')
  assert.deepEqual(await heard(alice), [])
})

test('a second socket is told the state, the same socket only who is here', async () => {
  const [alice] = await circle(['alice'], 'alice')
  const second = await member(alice.session, 'alice')
  assert.deepEqual((await heard(second)).map(([event]) => event), ['queue-updated'])
  await ask(second, 'join-session', { sessionId: alice.session, participantId: 'alice' })
  assert.deepEqual((await heard(second)).map(([event]) => event), ['session-joined'])
})

test('two changes of the queue at once leave everybody with the same one', async () => {
  for (let round = 0; round < 10; round++) {
    const members = await room('alice', 'bob', 'carol', 'dave')
    await Promise.all(members.map((client) => ask(client, 'update-queue', {
      sessionId: client.session, queue: [client.id_, 'x', 'y'],
    })))
    const last = (await Promise.all(members.map(heard))).map((events) => {
      const { queue, currentReader } = events.findLast(([event]) => event === 'queue-updated')[1]
      return { queue, currentReader }
    })
    const stored = await Promise.all(members.map(queueOf))
    for (const state of [...last, ...stored]) assert.deepEqual(state, last[0])
    assert.equal(last[0].queue.includes(last[0].currentReader), true)
  }
})

test('everybody is told the turns in one order', async () => {
  const ids = ['p0', 'p1', 'p2', 'p3']
  const members = await circle(ids, ...ids)
  for (let round = 0; round < 25; round++) {
    for (const client of members) client.emit('skip-turn', { sessionId: client.session, participantId: client.id_ })
  }
  for (const client of members) await done(client, 'change-verse', { verse: client.id_ })
  const tellings = await Promise.all(members.map(async (client) => (await heard(client)).map(([event, payload]) =>
    [event, payload.queue ?? payload.verse, payload.currentReader])))
  // Nodes apply what their own clients do at once, so that only the outcome is common to all of them.
  const from = URLS.length > 1 ? -1 : 0
  for (const telling of tellings) assert.deepEqual(telling.slice(from), tellings[0].slice(from))
})

test('nothing is told to another session', async () => {
  const [alice] = await circle(['alice'], 'alice')
  const [stranger] = await room('alice')
  await done(alice, 'change-verse', { verse: VERSE })
  await done(alice, 'start-reading', { participantId: 'alice', verse: VERSE })
  await done(alice, 'finish-reading', { participantId: 'alice', verse: VERSE })
  assert.deepEqual(await heard(stranger), [])
  const bystander = await connect()
  assert.deepEqual(await heard(bystander), [])
})

/** Members of a session with this queue. */
async function circle(queue, ...ids) {
  const members = await room(...ids)
  await done(members[0], 'update-queue', { queue })
  await Promise.all(members.map(heard))
  return members
}

/** Each of `members` is told these events of their session, in this order, and nothing else. */
async function allHear(members, ...events) {
  for (const client of members) {
    const all = await heard(client)
    const bare = all.map(([event, { timestamp, ...payload }]) => {
      assert.equal(Math.abs(Date.now() - timestamp) < 20_000, true, `${event}: ${timestamp}`)
      return [event, payload]
    })
    const sessionId = client.session
    assert.deepEqual(bare, events.map(([event, payload]) => [event, { sessionId, ...payload }]), client.id_)
  }
}

async function queueOf(client) {
  await done(client, 'get-queue')
  const { sessionId, ...state } = await told(client, 'queue-updated')
  assert.equal(sessionId, client.session)
  return state
}
