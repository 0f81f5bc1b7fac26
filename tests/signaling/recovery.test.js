// A client whose transport broke comes back by itself and is a member again: the application knows nothing of it.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  TRANSPORTS, URL, ask, connect, done, eventually, heard, heardBut, member, next, occurs, prepare, room, settle,
  signal, unique, within,
} from './harness.js'
import { startProxy } from '../browser/support/proxy.js'

// Long enough away to miss something.
const AWAY = { reconnection: true, reconnectionDelay: 700, reconnectionDelayMax: 700, randomizationFactor: 0 }

test('the answer to a connect has sid and pid', async () => {
  const polling = `${URL}/socket.io/?EIO=4&transport=polling`
  const { sid } = JSON.parse((await (await fetch(polling)).text()).slice(1))
  const own = `${polling}&sid=${sid}`
  await fetch(own, { method: 'POST', body: '40' })
  // The first ping may come before it.
  const packets = (await (await fetch(own)).text()).split('\x1e')
  const answer = JSON.parse(packets.find((packet) => packet.startsWith('40')).slice(2))
  assert.deepEqual(Object.keys(answer).sort(), ['pid', 'sid'])
  assert.equal(typeof answer.sid === 'string' && typeof answer.pid === 'string', true)
  assert.notEqual(answer.sid, answer.pid, 'the sid may be known to others')
})

test('every event ends in its offset', async () => {
  const [alice, bob] = await room('alice', 'bob')
  const offsets = []
  const note = (event, ...args) => offsets.push([event, args.length, typeof args.at(-1)])
  for (const client of [alice, bob]) client.onAny(note)
  await done(alice, 'change-verse', { verse: 1 })
  await ask(alice, 'webrtc-offer', signal(alice, 'offer', 'bob', null))
  await done(bob, 'get-ice-servers')
  await Promise.all([alice, bob].map(heard))
  for (const [event, length, type] of offsets.filter(([event]) => event !== 'test-response')) {
    assert.deepEqual([length, type], [2, 'string'], event)
  }
})

test('a wish for the next verse is not missed either', async () => {
  const session = unique('s')
  const [alice, bob] = [await member(session, 'alice', AWAY), await member(session, 'bob')]
  for (const client of [alice, bob]) await heard(client)
  const back = lose(alice)
  await next(bob, 'participant-left')
  await ask(bob, 'request-next-verse', { sessionId: bob.session, participantId: 'bob' })
  await within(back, () => 'the return')
  assert.equal(alice.recovered, true)
  assert.equal((await next(alice, 'request-next-verse')).participantId, 'bob')
})

for (const transports of TRANSPORTS) {
  test(`who lost the transport is back with what was missed (${transports})`, async () => {
    const session = unique('s')
    const bob = await member(session, 'bob')
    const alice = await member(session, 'alice', { ...AWAY, transports, name: 'Alice Devi' })
    const carol = await member(session, 'carol')
    await done(bob, 'update-queue', { queue: ['bob', 'carol'] })
    for (const client of [alice, bob, carol]) await heard(client)

    const back = lose(alice)
    for (const client of [bob, carol]) {
      assert.deepEqual(await next(client, 'participant-left'), { sessionId: session, participantId: 'alice' })
    }
    const { pid } = before(alice)
    await done(bob, 'change-verse', { verse: 'one' })
    await ask(carol, 'webrtc-offer', signal(carol, 'offer', 'all', 'two'))
    await done(bob, 'change-verse', { verse: 'three' })
    await within(back, () => 'the return')

    assert.equal(alice.recovered, true)
    assert.equal(alice._pid, pid)
    const joined = await next(alice, 'session-joined', ({ iceServers }) => iceServers)
    assert.deepEqual(joined.participants, ['bob', 'carol', 'alice'])
    assert.equal(joined.participantNames.alice, 'Alice Devi')
    assert.equal(Date.parse(joined.iceExpiresAt) > Date.now(), true)
    const said = (await heard(alice)).map(([event, payload]) => [event, payload.verse ?? payload.data ?? payload.queue])
    assert.deepEqual(said.slice(0, 3), [['verse-changed', 'one'], ['webrtc-offer', 'two'], ['verse-changed', 'three']])
    assert.deepEqual(said.slice(3).sort(), [['queue-updated', ['bob', 'carol']], ['verse-changed', 'three']])
    for (const client of [bob, carol]) {
      assert.deepEqual(await next(client, 'participant-joined'), {
        sessionId: session, participantId: 'alice', participantName: 'Alice Devi',
      })
      const rest = await heardBut(client, 'session-joined', 'verse-changed', 'webrtc-offer')
      assert.deepEqual(rest, [], 'nothing else')
    }

    await ask(bob, 'webrtc-offer', signal(bob, 'offer', 'alice', 'welcome'))
    assert.equal((await next(alice, 'webrtc-offer')).data, 'welcome')
    await ask(alice, 'webrtc-answer', signal(alice, 'answer', 'bob', 'thanks'))
    assert.equal((await next(bob, 'webrtc-answer')).data, 'thanks')
    assert.deepEqual(await heard(alice), [], 'once')
  })
}

test('the state before is told before the state now', async () => {
  const session = unique('s')
  const bob = await member(session, 'bob')
  const alice = await member(session, 'alice', AWAY)
  await heard(alice)
  const back = lose(alice)
  await next(bob, 'participant-left')
  for (let n = 0; n < 300; n++) bob.emit('webrtc-ice-candidate', signal(bob, 'ice-candidate', 'all', n))
  await settle(bob)
  await within(back, () => 'the return')
  await next(alice, 'session-joined', ({ iceServers }) => iceServers)
  await eventually(() => alice.told.length >= 300, 'all 300')
  assert.deepEqual((await heard(alice)).map(([, { data }]) => data), [...Array(300).keys()])
})

test('a client may lose its transport again and again', async () => {
  const session = unique('s')
  const bob = await member(session, 'bob')
  const alice = await member(session, 'alice', { ...AWAY, reconnectionDelay: 100 })
  for (let round = 0; round < 5; round++) {
    await Promise.all([alice, bob].map(heard))
    const back = lose(alice)
    await next(bob, 'participant-left')
    await done(bob, 'change-verse', { verse: round })
    await within(back, () => 'the return')
    assert.equal(alice.recovered, true)
    assert.equal((await next(alice, 'verse-changed')).verse, round)
    await next(alice, 'session-joined', ({ iceServers }) => iceServers)
    await next(bob, 'participant-joined')
  }
})

test('two who lose their transports at once both come back', async () => {
  const session = unique('s')
  const carol = await member(session, 'carol')
  const pair = [await member(session, 'alice', AWAY), await member(session, 'bob', AWAY)]
  for (const client of [carol, ...pair]) await heard(client)
  const back = pair.map(lose)
  for (const _ of pair) await next(carol, 'participant-left')
  await done(carol, 'change-verse', { verse: 'missed' })
  await within(Promise.all(back), () => 'both')
  for (const client of pair) {
    assert.equal((await next(client, 'verse-changed')).verse, 'missed')
    await next(client, 'session-joined', ({ iceServers }) => iceServers)
  }
  for (const _ of pair) await next(carol, 'participant-joined')
  assert.deepEqual((await member(session, 'dave')).joined.participants.sort(), ['alice', 'bob', 'carol', 'dave'])
})

test('who has two sockets and loses one never left, and is addressed on both afterwards', async () => {
  const session = unique('s')
  const bob = await member(session, 'bob')
  const first = await member(session, 'alice', AWAY)
  const second = await member(session, 'alice')
  await heard(bob)
  await within(lose(first), () => 'the return')
  await next(first, 'session-joined', ({ iceServers }) => iceServers)
  assert.deepEqual(await heardBut(bob, 'session-joined', 'participant-joined'), [])
  await heard(second)
  await ask(bob, 'webrtc-offer', signal(bob, 'offer', 'alice', 'both'))
  for (const client of [first, second]) assert.equal((await next(client, 'webrtc-offer')).data, 'both')
})

test('after a goodbye nothing comes back', async () => {
  const session = unique('s')
  const bob = await member(session, 'bob')
  const alice = await member(session, 'alice')
  await Promise.all([alice, bob].map(heard))
  alice.disconnect()
  await next(bob, 'participant-left')
  await done(bob, 'change-verse', { verse: 'missed' })
  const connected = occurs(alice, 'connect')
  alice.connect()
  await within(connected, () => 'connect')
  assert.equal(alice.recovered, false)
  assert.deepEqual(await heard(alice), [])
  assert.deepEqual(await heardBut(bob, 'verse-changed'), [])
})

test('who left the session before is no member after', async () => {
  const session = unique('s')
  const bob = await member(session, 'bob')
  const alice = await member(session, 'alice', AWAY)
  await done(alice, 'leave-session', { participantId: 'alice' })
  await Promise.all([alice, bob].map(heard))
  await within(lose(alice), () => 'the return')
  assert.deepEqual(await heard(alice), [])
  assert.deepEqual(await heard(bob), [])
})

test('a session that ended meanwhile stays ended', async () => {
  const session = unique('s')
  const bob = await member(session, 'bob')
  const alice = await member(session, 'alice', AWAY)
  for (const client of [alice, bob]) await heard(client)
  const back = lose(alice)
  await next(bob, 'participant-left')
  await done(bob, 'end-session', { reason: 'over' })
  await within(back, () => 'the return')
  assert.equal((await next(alice, 'session-ended')).reason, 'over')
  assert.deepEqual(await heardBut(bob, 'session-ended'), [])
})

test('a pid that nobody has is a new beginning', async () => {
  for (const pid of ['nobody', '', 7, { deep: true }]) {
    const client = prepare()
    Object.assign(client, { _pid: pid, _lastOffset: 'nothing' })
    const connected = occurs(client, 'connect')
    client.connect()
    await within(connected, () => 'connect')
    assert.equal(client.recovered, false)
    assert.notEqual(client._pid, pid)
    assert.deepEqual(await heard(client), [])
  }
})

test('who is back before the loss was noticed replaces its own ghost', async () => {
  const session = unique('s')
  const proxy = await startProxy(new globalThis.URL(URL).port)
  const bob = await member(session, 'bob')
  const alice = await member(session, 'alice', { ...AWAY, url: proxy.origin })
  await Promise.all([alice, bob].map(heard))
  const back = occurs(alice, 'connect')
  proxy.strandConnections()
  await within(back, () => 'the return')
  const joined = await next(alice, 'session-joined', ({ iceServers }) => iceServers)
  assert.deepEqual([...joined.participants].sort(), ['alice', 'bob'])
  await next(bob, 'participant-joined')
  await heard(bob)

  await done(bob, 'webrtc-offer', signal(bob, 'offer', 'alice', 'once'))
  const offers = (await heard(alice)).filter(([event]) => event === 'webrtc-offer')
  assert.equal(offers.length, 1)
  const alone = await member(unique('s'), 'carol', { url: proxy.origin })
  proxy.endStranded()
  await heard(alone)
  assert.deepEqual(await heard(bob), [], 'the end of the ghost is no leave')
  for (const client of [alice, alone]) client.disconnect()
  await proxy.stop()
})

test('a client that never joined is recovered without a session', async () => {
  const client = await connect(AWAY)
  await within(lose(client), () => 'the return')
  assert.deepEqual(await heard(client), [])
})

const before = (client) => ({ pid: client._pid, offset: client._lastOffset })

/** Breaks the transport of `client`; resolves when it is connected again. */
function lose(client) {
  const back = occurs(client, 'connect')
  client.io.engine.close()
  return back
}
