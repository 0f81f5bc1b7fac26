import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as passes } from 'node:timers/promises'
import { TRANSPORTS, ask, done, heard, member, next, room, signal, unique } from './harness.js'

const SIGNALS = [
  ['webrtc-offer', 'offer', { type: 'offer', sdp: 'v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\n' }],
  ['webrtc-answer', 'answer', { type: 'answer', sdp: 'v=0\r\n' }],
  ['webrtc-ice-candidate', 'ice-candidate', { candidate: 'candidate:1 1 udp 1 192.0.2.1 9 typ host', sdpMid: '0' }],
  ['webrtc-ice-candidate', 'ice-candidate', null],
  ['webrtc-signaling', 'offer', { type: 'offer', sdp: 'v=0\r\n' }],
]

for (const [event, type, data] of SIGNALS) {
  test(`${event} with ${data === null ? 'null' : type} reaches each socket of its participant alone`, async () => {
    const [alice, first, second, carol] = await room('alice', 'bob', 'bob', 'carol')
    const before = Date.now()
    const sent = signal(alice, type, 'bob', data, { extra: { deep: [1.0000000000000002, 9007199254740993] }, n: 1e21 })
    assert.deepEqual(await ask(alice, event, sent), { ok: true })
    for (const client of [first, second]) {
      const { timestamp, ...got } = await next(client, event)
      const { timestamp: _, ...expected } = sent
      assert.deepEqual(got, expected, 'whole, unknown fields too')
      assert.equal(timestamp >= before && timestamp <= Date.now(), true, 'the timestamp is the server’s')
    }
    assert.deepEqual(await heard(carol), [])
    assert.deepEqual(await heard(alice), [])
  })
}

for (const to of [undefined, null, '', 'all']) {
  test(`to ${to === undefined ? 'left out' : JSON.stringify(to)} is everybody but the sender`, async () => {
    const [alice, bob, carol] = await room('alice', 'bob', 'carol')
    await ask(alice, 'webrtc-answer', signal(alice, 'answer', to, null))
    for (const client of [bob, carol]) assert.equal((await next(client, 'webrtc-answer')).from, 'alice')
    assert.deepEqual(await heard(alice), [])
  })
}

test('a message to oneself, to nobody known or to another session is dropped without error', async () => {
  const [alice, bob] = await room('alice', 'bob')
  const [dave] = await room('dave')
  for (const to of ['alice', 'nobody', 'dave', '__proto__']) {
    assert.deepEqual(await ask(alice, 'webrtc-offer', signal(alice, 'offer', to, null)), { ok: true })
  }
  for (const client of [alice, bob, dave]) assert.deepEqual(await heard(client), [])
})

test('a field written twice is passed on as it was checked', async () => {
  const [alice, bob] = await room('alice', 'bob')
  const text = JSON.stringify(signal(alice, 'offer', 'bob', null))
  const twice = text.replace('"from":"alice"', '"from":"mallory","from":"alice"')
  alice.io.engine.write(`2["webrtc-offer",${twice}]`)
  assert.equal((await next(bob, 'webrtc-offer')).from, 'alice')
  const forged = text.replace('"from":"alice"', '"from":"alice","from":"mallory"')
  alice.io.engine.write(`2["webrtc-offer",${forged}]`)
  assert.equal((await next(alice, 'error')).code, 'FORBIDDEN')
  assert.deepEqual(await heard(bob), [])
})

for (const sender of TRANSPORTS) {
  for (const receiver of TRANSPORTS) {
    test(`500 candidates arrive in order (${sender} to ${receiver})`, async () => {
      const session = unique('s')
      const bob = await member(session, 'bob', { transports: receiver })
      const alice = await member(session, 'alice', { transports: sender })
      const data = (i) => ({ candidate: `candidate:${i} 1 udp ${i} 192.0.2.1 9 typ host`, sdpMLineIndex: i })
      for (let i = 0; i < 500; i++) {
        alice.emit('webrtc-ice-candidate', signal(alice, 'ice-candidate', i % 2 ? 'bob' : 'all', data(i)))
      }
      await next(bob, 'webrtc-ice-candidate', (payload) => payload.data.sdpMLineIndex === 499)
      const order = bob.told.filter(([event]) => event === 'webrtc-ice-candidate')
      assert.deepEqual(order.map(([, payload]) => payload.data.sdpMLineIndex), [...Array(499).keys()])
    })
  }
}

test('4000 events of one socket keep their order', async () => {
  const [alice, bob] = await room('alice', 'bob')
  for (let i = 0; i < 4000; i++) {
    // Different events have different ways to take: they must not overtake each other.
    const [event, type] = SIGNALS[i % SIGNALS.length]
    alice.emit(event, signal(alice, type, 'bob', null, { i }))
    if (i % 400 === 399) await ask(alice, 'get-ice-servers', { sessionId: alice.session })
  }
  await next(bob, SIGNALS[3999 % SIGNALS.length][0], (payload) => payload.i === 3999)
  assert.deepEqual(bob.told.map(([, payload]) => payload.i), [...Array(3999).keys()])
})

test('large descriptions pass', async () => {
  const [alice, bob] = await room('alice', 'bob')
  const sdp = 'a=श्री\r\n'.repeat(40_000)
  await ask(alice, 'webrtc-offer', signal(alice, 'offer', 'bob', { type: 'offer', sdp }))
  assert.equal((await next(bob, 'webrtc-offer')).data.sdp, sdp)
})

// One client class sends every event that it receives back to the server, as it came.
for (const echo of ['at once', 'a little late']) {
  test(`clients that send back ${echo} whatever they receive start no loop`, async () => {
    const clients = await room('alice', 'bob', 'carol')
    let echoed = 0
    for (const client of clients) {
      client.onAny((event, ...payload) => {
        const back = () => {
          // The harness's own doings, by which it sees the calm, are sent back too.
          if (!['session-left', 'test-response', 'parser-monitor-subscribed'].includes(event)) echoed++
          client.emit(event, ...payload)
        }
        if (echo === 'at once') back()
        else setTimeout(back, 40)
      })
    }
    const [alice, bob, carol] = clients
    for (const type of ['offer', 'answer', 'ice-candidate']) {
      await ask(alice, `webrtc-${type}`, signal(alice, type, 'all', null))
      await ask(bob, 'webrtc-signaling', signal(bob, type, 'alice', null))
    }
    const say = (client, event, payload) => client.emit(event, { sessionId: client.session, ...payload })
    say(alice, 'join-session', { participantId: 'alice' })
    say(alice, 'update-queue', { queue: ['alice', 'bob', 'carol'] })
    say(bob, 'update-queue', { queue: ['bob', 'carol', 'alice'] })
    say(bob, 'reading-queue-update', { queue: ['carol', 'bob'] })
    say(alice, 'reading-queue-update', { queue: ['bob', 'carol', 'alice'] })
    say(alice, 'change-verse', { verse: 1 })
    say(bob, 'change-verse', { verse: 2 })
    say(carol, 'verse-changed', { verse: 3, currentReader: 'alice' })
    say(alice, 'verse-changed', { verse: 4, currentReader: 'bob' })
    say(bob, 'start-reading', { participantId: 'bob', verse: 4 })
    say(bob, 'finish-reading', { participantId: 'bob', verse: 4 })
    say(carol, 'skip-reading', { participantId: 'carol' })
    say(carol, 'skip-turn', { participantId: 'carol' })
    say(alice, 'update-reading-status', { participantId: 'alice', status: 'reading' })
    say(alice, 'request-next-verse', { participantId: 'alice' })
    say(alice, 'get-queue', {})
    say(alice, 'get-ice-servers', {})
    say(alice, 'start-session-timer', { duration: 60 })
    say(bob, 'pause-session-timer', {})
    say(bob, 'resume-session-timer', {})
    say(carol, 'session-timer-update', { timeLeft: 40 })
    say(alice, 'session-timer-update', { timeLeft: 20 })
    alice.emit('test-message', { message: 'hello' })
    await done(carol, 'get-queue')
    await calm(clients, () => echoed)
    say(bob, 'leave-session', { participantId: 'bob' })
    await done(alice, 'end-session', { reason: 'over' })
    await calm(clients, () => echoed)
    assert.equal(echoed < 600, true, `${echoed} events`)
  })
}

test('a wish that two clients of one participant send back is heard once', async () => {
  const clients = await room('alice', 'alice', 'bob')
  clients.forEach(echoes)
  await ask(clients[0], 'request-next-verse', { sessionId: clients[0].session, participantId: 'alice' })
  for (const events of await heardWithEchoes(clients)) {
    assert.deepEqual(events.map(([event]) => event), ['request-next-verse'], 'and nobody is told off')
  }
})

for (const to of [undefined, 'all']) {
  test(`a message to ${to ?? 'nobody named'} comes to each other client of its sender once, though they send it back`,
    async () => {
      const clients = await room('alice', 'alice', 'bob')
      clients.forEach(echoes)
      const [alice] = clients
      const offer = signal(alice, 'offer', to, { type: 'offer', sdp: 'v=0' })
      // Said again, it is no echo, however equal.
      for (const time of ['first', 'second']) {
        await ask(alice, 'webrtc-offer', offer)
        const events = await heardWithEchoes(clients)
        const offers = events.map((events) => events.filter(([event]) => event === 'webrtc-offer').length)
        assert.deepEqual(offers, [0, 1, 1], time)
      }
    })
}

/** Makes a client send back whatever it receives. */
function echoes(client) {
  client.onAny((event, ...payload) => client.emit(event, ...payload))
}

/** What each of `clients` is told, of its echoes too, whose effect the second round trip would bring. */
async function heardWithEchoes(clients) {
  const events = clients.map(() => [])
  for (let round = 0; round < 2; round++) {
    for (const [i, client] of clients.entries()) events[i].push(...(await heard(client)))
  }
  return events
}

/** Waits until the echoes have died away: none for several round trips, and for longer than the latest echo takes. */
async function calm(clients, count) {
  let before = -1
  for (let round = 0; round < 20 && before !== count(); round++) {
    before = count()
    for (const client of clients) await heard(client)
    await passes(200)
  }
  assert.equal(before, count(), 'it never ends')
}
