import assert from 'node:assert/strict'
import { test } from 'node:test'
import { TRANSPORTS, ask, heard, member, next, signal, unique } from './harness.js'

const SIGNALS = [
  ['webrtc-offer', 'offer', { type: 'offer', sdp: 'v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\n' }],
  ['webrtc-answer', 'answer', { type: 'answer', sdp: 'v=0\r\n' }],
  ['webrtc-ice-candidate', 'ice-candidate', { candidate: 'candidate:1 1 udp 1 192.0.2.1 9 typ host', sdpMid: '0' }],
  ['webrtc-ice-candidate', 'ice-candidate', null],
  ['webrtc-signaling', 'offer', { type: 'offer', sdp: 'v=0\r\n' }],
]

async function room(...ids) {
  const session = unique('s')
  const members = []
  for (const id of ids) members.push(await member(session, id))
  for (const client of members) await heard(client)
  return members
}

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

test('a client that sends back whatever it receives starts no loop', async () => {
  const session = unique('s')
  const clients = []
  for (const id of ['alice', 'bob', 'carol']) {
    const client = await member(session, id)
    client.echoed = 0
    client.onAny((event, ...payload) => {
      client.echoed++
      client.emit(event, ...payload)
    })
    clients.push(client)
  }
  const [alice, bob] = clients
  await ask(alice, 'webrtc-offer', signal(alice, 'offer', 'all', null))
  alice.emit('join-session', { sessionId: session, participantId: 'alice' })
  bob.emit('leave-session', { sessionId: session, participantId: 'bob' })
  let before = -1
  const total = () => clients.reduce((sum, client) => sum + client.echoed, 0)
  for (let round = 0; round < 20 && before !== total(); round++) {
    before = total()
    for (const client of clients) await ask(client, 'webrtc-offer', 'no object')
  }
  assert.equal(total() < 200, true, `${total()} events`)
})
