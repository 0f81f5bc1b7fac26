// Two nodes on one Redis. One is killed in mid-session, and its clients find the other.

import assert from 'node:assert/strict'
import { afterEach, beforeEach, test } from 'node:test'
import { done, eventually, heard, member, next, occurs, signal, told, unique, within } from './harness.js'
import { startRedis, startSetu } from './servers.js'
import { startProxy } from '../browser/support/proxy.js'

const BACK_WITHIN_MS = 5000
const NOTICED_WITHIN_MS = 20_000
const UPDATE = 'session-timer-update'
// As the application's clients do it.
const RECONNECTION = {
  reconnection: true, reconnectionAttempts: 5, reconnectionDelay: 1000, reconnectionDelayMax: 5000,
}

let redis
let nodes
let proxy
beforeEach(async () => {
  redis = await startRedis()
  const variables = { SETU_STORE__REDIS_URL: redis.url }
  nodes = [await startSetu(variables), await startSetu(variables)]
  proxy = await startProxy(nodes[1].port)
})
afterEach(async () => {
  await proxy.stop()
  for (const setu of nodes) await setu.stop()
  await redis.kill()
})

const first = (session, id) => member(session, id, { url: nodes[0].url })
const second = (session, id) => member(session, id, { url: proxy.origin, ...RECONNECTION })

test('the clients of a killed node are back in their sessions within five seconds, without ghosts', async () => {
  const session = unique('s')
  const alice = await first(session, 'alice')
  const lost = [await second(session, 'bob'), await second(session, 'carol')]
  const [bob, carol] = lost
  await next(alice, 'participant-joined', ({ participantId }) => participantId === 'carol')
  await done(bob, 'update-queue', { queue: ['bob', 'alice', 'carol'] })
  await done(carol, 'change-verse', { verse: 'before' })
  await next(alice, 'verse-changed')
  for (const client of [alice, ...lost]) await heard(client)

  const killed = Date.now()
  const back = lost.map((client) => occurs(client, 'connect'))
  await nodes[1].kill()
  proxy.leadTo(nodes[0].port)
  await within(Promise.all(back), () => 'both', BACK_WITHIN_MS)
  for (const client of lost) {
    assert.equal(client.recovered, true)
    const { iceServers, participants } = await next(client, 'session-joined', ({ iceServers }) => iceServers)
    assert.equal(participants.includes(client.id_) && iceServers.length > 0, true)
  }
  assert.equal(Date.now() - killed < BACK_WITHIN_MS, true, `${Date.now() - killed} ms`)

  for (const [from, to] of [[alice, bob], [bob, carol], [carol, alice]]) {
    await done(from, 'webrtc-offer', signal(from, 'offer', to.id_, `to ${to.id_}`))
    assert.equal((await next(to, 'webrtc-offer')).data, `to ${to.id_}`)
  }
  for (const client of [alice, ...lost]) {
    assert.deepEqual((await heard(client)).filter(([event]) => event === 'webrtc-offer'), [], 'once')
  }
  // The dead node's sockets must go, and nobody with them who is here.
  await eventually(async () => (await redis.json(`participants:${session}`)).length === 3, 'three')
  const dave = await first(session, 'dave')
  assert.deepEqual([...dave.joined.participants].sort(), ['alice', 'bob', 'carol', 'dave'])
  assert.equal((await next(dave, 'verse-changed')).verse, 'before')
})

test('back on another node a client is told how things are, and not what was said meanwhile', async () => {
  const session = unique('s')
  const [alice, bob] = [await first(session, 'alice'), await second(session, 'bob')]
  for (const client of [alice, bob]) await heard(client)
  bob.io.reconnection(false)
  bob.io.engine.close()
  await next(alice, 'participant-left')
  await done(alice, 'webrtc-offer', signal(alice, 'offer', 'all', 'missed'))
  await done(alice, 'change-verse', { verse: 'meanwhile' })
  proxy.leadTo(nodes[0].port)
  const back = occurs(bob, 'connect')
  bob.connect()
  await within(back, () => 'the return')
  assert.equal(bob.recovered, true)
  const { participants } = await next(bob, 'session-joined', ({ iceServers }) => iceServers)
  assert.deepEqual(participants, ['alice', 'bob'])
  const told = (await heard(bob)).map(([event, { verse }]) => [event, verse])
  assert.deepEqual(told, [['verse-changed', 'meanwhile']])
  await next(alice, 'participant-joined')
})

test('each tab of a participant is back within five seconds, and is one participant still', async () => {
  const session = unique('s')
  const alice = await first(session, 'alice')
  const tabs = []
  for (const id of ['bob', 'carol']) for (let tab = 0; tab < 3; tab++) tabs.push(await second(session, id))
  // One of carol's is where nobody dies.
  const spared = await first(session, 'carol')
  for (const client of [alice, spared, ...tabs]) await heard(client)

  const killed = Date.now()
  const back = tabs.map((client) => occurs(client, 'connect'))
  await nodes[1].kill()
  proxy.leadTo(nodes[0].port)
  await within(Promise.all(back), () => 'all tabs', BACK_WITHIN_MS)
  for (const client of tabs) {
    assert.equal(client.recovered, true)
    const { participants } = await next(client, 'session-joined', ({ iceServers }) => iceServers)
    assert.deepEqual([...participants].sort(), ['alice', 'bob', 'carol'])
  }
  assert.equal(Date.now() - killed < BACK_WITHIN_MS, true, `${Date.now() - killed} ms`)

  const all = [alice, spared, ...tabs]
  for (const to of ['bob', 'carol']) {
    await done(alice, 'webrtc-offer', signal(alice, 'offer', to, `to ${to}`))
    for (const tab of all.filter(({ id_ }) => id_ === to)) {
      assert.equal((await next(tab, 'webrtc-offer')).data, `to ${to}`)
    }
  }
  for (const client of all) {
    assert.deepEqual((await heard(client)).filter(([event]) => event === 'webrtc-offer'), [], 'once on each tab')
  }
  // The dead node is buried meanwhile; nobody goes with it.
  await eventually(async () => (await nodes[0].health()).cluster?.activeParticipants === 3, 'three')
  const dave = await first(session, 'dave')
  assert.deepEqual([...dave.joined.participants].sort(), ['alice', 'bob', 'carol', 'dave'])
  for (const tab of tabs.filter(({ id_ }) => id_ === 'bob')) tab.disconnect()
  assert.equal((await next(alice, 'participant-left', ({ participantId }) => participantId === 'bob')).participantId, 'bob')
  const erin = await first(session, 'erin')
  assert.deepEqual([...erin.joined.participants].sort(), ['alice', 'carol', 'dave', 'erin'], 'no ghost of bob')
})

test('one who does not come back is gone for the others too', async () => {
  const session = unique('s')
  const alice = await first(session, 'alice')
  const ghost = await second(session, 'ghost')
  await next(alice, 'participant-joined')
  ghost.io.reconnection(false)
  await nodes[1].kill()
  const left = next(alice, 'participant-left')
  assert.equal((await within(left, () => 'participant-left', NOTICED_WITHIN_MS)).participantId, 'ghost')
  const bob = await first(session, 'bob')
  assert.deepEqual(bob.joined.participants, ['alice', 'bob'])
  await eventually(async () => (await redis.json(`participants:${session}`))?.join() === 'alice,bob', 'the key')
})

test('a leave that the others hear of late takes nobody who has come back meanwhile', async () => {
  const link = await startProxy(redis.port)
  const url = link.origin.replace('http', 'redis').replace('localhost', '127.0.0.1')
  const late = await startSetu({ SETU_STORE__REDIS_URL: url })
  const session = unique('s')
  const [bob, ben] = [await member(session, 'bob', { url: late.url }), await first(session, 'ben')]
  const alice = await member(session, 'alice', { url: late.url })
  await next(ben, 'participant-joined')
  for (const client of [bob, ben]) await heard(client)
  link.hold()
  await done(alice, 'leave-session', { participantId: 'alice' })
  await next(bob, 'participant-left')
  // More than clocks differ by.
  const left = Date.now()
  await eventually(() => Date.now() > left + 100, 'a moment later')
  const back = await first(session, 'alice')
  await next(ben, 'participant-joined')
  link.release()

  await next(bob, 'participant-joined', ({ participantId }) => participantId === 'alice')
  await done(bob, 'webrtc-offer', signal(bob, 'offer', 'ben', 'after the leave'))
  await next(ben, 'webrtc-offer')
  for (const client of [bob, ben, back]) {
    assert.deepEqual((await heard(client)).filter(([event]) => event === 'participant-left'), [], client.id_)
  }
  for (const [i, setu] of [late, nodes[0]].entries()) {
    const newcomer = await member(session, `carol${i}`, { url: setu.url })
    assert.equal(newcomer.joined.participants.includes('alice'), true, setu.url)
  }
  await done(bob, 'webrtc-offer', signal(bob, 'offer', 'alice', 'still here'))
  assert.equal((await next(back, 'webrtc-offer')).data, 'still here')
  await late.stop()
  await link.stop()
})

test('who was taken for dead with their node comes back under the name they had', async () => {
  const session = unique('s')
  const bob = await first(session, 'bob')
  // Her first socket gives no name.
  const unnamed = await second(session, 'alice')
  const alice = await member(session, 'alice', { url: proxy.origin, name: 'Alice Devi' })
  for (const client of [bob, unnamed, alice]) await heard(client)
  nodes[1].freeze()
  await next(bob, 'participant-left')
  nodes[1].wake()
  for (const socket of ['first', 'second']) {
    assert.equal((await next(bob, 'participant-joined')).participantName, 'Alice Devi', socket)
  }
  for (const client of [unnamed, alice]) {
    const { participantNames } = await next(client, 'session-joined', ({ iceServers }) => iceServers)
    assert.equal(participantNames.alice, 'Alice Devi')
    assert.equal(client.connected, true)
  }
  assert.deepEqual((await first(session, 'carol')).joined.participantNames,
    { bob: 'bob', alice: 'Alice Devi', carol: 'carol' })
})

for (const [whose, victim] of [['the killed', 1], ['the other', 0]]) {
  test(`a timer that was started on ${whose} node goes on in its rhythm`, async () => {
    const session = unique('s')
    const alice = await first(session, 'alice')
    const bob = await second(session, 'bob')
    await next(alice, 'participant-joined')
    const starter = victim === 1 ? bob : alice
    await done(starter, 'start-session-timer', { duration: 21 })
    for (const client of [alice, bob]) await told(client, UPDATE, ({ timeLeft }) => timeLeft === 21)
    const started = starter.stamp
    await told(alice, UPDATE, ({ timeLeft }) => timeLeft === 16)
    await nodes[1].kill()
    proxy.leadTo(nodes[0].port)
    for (const [client, timeLeft] of [[alice, 11], [bob, 11], [alice, 6], [bob, 6], [alice, 1], [bob, 1]]) {
      await told(client, UPDATE, (payload) => payload.timeLeft === timeLeft)
      const late = client.stamp - started - (21 - timeLeft) * 1000
      assert.equal(late > -300 && late < 1500, true, `${client.id_} at ${timeLeft}: ${late} ms late`)
    }
    for (const client of [alice, bob]) {
      await told(client, UPDATE, ({ isActive }) => !isActive)
      const times = client.told.filter(([event]) => event === UPDATE).map(([, payload]) => payload.timeLeft)
      // A return brings the present state once more.
      assert.equal(times.length <= (client === bob ? 2 : 0), true, `${client.id_} was told too often: ${times}`)
    }
    const late = alice.stamp - started - 21_000
    assert.equal(late > -300 && late < 1500, true, `the end is ${late} ms late`)
  })
}

test('health counts this node, and in cluster all', async () => {
  const session = unique('s')
  await first(session, 'alice')
  await second(session, 'bob')
  await eventually(async () => {
    const answers = await Promise.all(nodes.map((setu) => setu.health()))
    return answers.every(({ cluster }) => cluster?.activeParticipants === 2 && cluster?.activeSessions === 1)
  }, 'two in one session')
})

test('of three nodes one is killed: its clients, who know two, are on the other one, and nobody speaks of it', async () => {
  const third = await startSetu({ SETU_STORE__REDIS_URL: redis.url })
  const session = unique('s')
  const stays = [await first(session, 'alice'), await member(session, 'dave', { url: third.url })]
  const urls = [nodes[1].url, third.url]
  const lost = []
  for (const id of ['bob', 'carol']) {
    const client = await member(session, id, { url: urls[0], ...RECONNECTION })
    let attempts = 0
    client.io.on('reconnect_attempt', () => { client.io.uri = urls[++attempts % 2] })
    lost.push(client)
  }
  const [alice, dave] = stays
  await next(dave, 'participant-joined', ({ participantId }) => participantId === 'carol')
  await done(lost[0], 'start-session-timer', { duration: 300 })
  const started = Date.now()
  // Each node knows the others by their first greetings.
  for (const client of stays) await eventually(async () => (await relays(client)).length === 2, 'two relays')
  const dead = relayOf((await done(lost[0], 'get-ice-servers')).iceServers)[0]
  for (const client of [...stays, ...lost]) await heard(client)

  const killed = Date.now()
  const back = lost.map((client) => occurs(client, 'connect'))
  await nodes[1].kill()
  await within(Promise.all(back), () => 'both', BACK_WITHIN_MS)
  for (const client of lost) {
    assert.equal(client.recovered, true)
    await next(client, 'session-joined', ({ iceServers }) => iceServers)
  }
  assert.equal(Date.now() - killed < BACK_WITHIN_MS, true, `${Date.now() - killed} ms`)
  // Until then the others' nodes know them where they were.
  for (const client of stays) for (let joins = 0; joins < lost.length; joins++) await next(client, 'session-joined')
  for (const [from, to] of [[alice, lost[0]], [lost[0], lost[1]], [lost[1], dave]]) {
    await done(from, 'webrtc-offer', signal(from, 'offer', to.id_, `to ${to.id_}`))
    assert.equal((await next(to, 'webrtc-offer')).data, `to ${to.id_}`)
  }

  // Whoever is told where to relay, or who is here, hears nothing of the dead one.
  for (const client of [...stays, ...lost]) {
    await eventually(async () => !(await relays(client)).includes(dead), `${client.id_} is not sent to the dead node`)
  }
  assert.equal(Date.now() - killed < NOTICED_WITHIN_MS, true, `${Date.now() - killed} ms until nobody is sent there`)
  for (const setu of [nodes[0], third]) {
    await eventually(async () => (await view(setu, session)).nodes === 2, 'two nodes have its participants')
    const { ids, timer } = await view(setu, session)
    assert.deepEqual(ids, ['alice', 'bob', 'carol', 'dave'])
    assert.equal(Math.abs(timer.timeRemaining - (300 - (Date.now() - started) / 1000)) < 2, true, JSON.stringify(timer))
  }
  for (const client of stays) {
    const left = (await heard(client)).filter(([event]) => event === 'participant-left')
    assert.deepEqual(left, [], `${client.id_} thinks that nobody left`)
  }
  await eventually(async () => (await redis.json(`participants:${session}`)).length === 4, 'four')
  await third.stop()
})

/** The relays that a client is told of, by their UDP addresses. */
async function relays(client) { return relayOf((await done(client, 'get-ice-servers')).iceServers) }

function relayOf(iceServers) {
  const urls = iceServers.flatMap(({ urls }) => urls)
  return urls.flatMap((url) => /^turn:(.+)\?transport=udp$/.exec(url)?.[1] ?? [])
}

async function view(setu, session) {
  const answer = await (await fetch(`${setu.url}/api/sessions/${session}`)).json()
  const ids = answer.participants.map(({ participantId }) => participantId).sort()
  return { ids, timer: answer.timer, nodes: new Set(answer.participants.flatMap(({ nodes }) => nodes)).size }
}
