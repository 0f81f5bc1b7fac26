// A Setu that starts on a living Redis takes up what it finds there.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { done, eventually, heard, heardBut, member, next, occurs, signal, told, unique, within } from './harness.js'
import { startRedis, startSetu } from './servers.js'
import { startProxy } from '../browser/support/proxy.js'

const VERSE = { text: 'धर्मक्षेत्रे', n: 1 }
const UPDATE = 'session-timer-update'

let redis
before(async () => { redis = await startRedis() })
after(() => redis.kill())

const startNode = () => startSetu({ SETU_STORE__REDIS_URL: redis.url })

for (const [how, end] of [['is killed', (setu) => setu.kill()], ['is stopped', (setu) => setu.stop()]]) {
  test(`a session is what it was when Setu ${how} and starts again`, async () => {
    const session = unique('s')
    const setu = await startNode()
    const alice = await member(session, 'alice', { url: setu.url })
    const bob = await member(session, 'bob', { url: setu.url })
    await done(alice, 'update-queue', { queue: ['alice', 'bob'] })
    await done(alice, 'skip-turn', { participantId: 'alice' })
    await done(bob, 'change-verse', { verse: VERSE })
    await done(alice, 'start-session-timer', { duration: 60 })
    const started = Date.now()
    await eventually(() => redis.exists(`timer:${session}`), 'written')
    await told(alice, UPDATE, ({ timeLeft }) => timeLeft === 55)
    await end(setu)

    await setu.start()
    const carol = await member(session, 'carol', { url: setu.url })
    const { queue, currentReader } = await told(carol, 'queue-updated')
    assert.deepEqual([queue, currentReader], [['bob', 'alice'], 'bob'])
    assert.deepEqual(await told(carol, 'verse-changed'), { sessionId: session, verse: VERSE, currentReader: 'bob' })
    const timer = await told(carol, UPDATE)
    const left = 60 - (Date.now() - started) / 1000
    assert.equal(Math.abs(timer.timeLeft - left) < 1.2, true, `${timer.timeLeft} s instead of ${left} s`)
    assert.deepEqual([timer.isActive, timer.isPaused], [true, false])
    const tick = await told(carol, UPDATE)
    const due = 60 - tick.timeLeft
    assert.equal(due % 5, 0, 'it ticks in its own rhythm')
    assert.equal(Math.abs(Date.now() - started - due * 1000) < 1200, true)
    for (const client of [alice, bob, carol]) client.disconnect()
    await setu.stop()
  })
}

test('clients that come back after a restart are members, without doing anything', async () => {
  const session = unique('s')
  const setu = await startNode()
  const proxy = await startProxy(setu.port)
  const options = { url: proxy.origin, reconnection: true }
  const members = [await member(session, 'alice', options), await member(session, 'bob', options)]
  const [alice, bob] = members
  await done(alice, 'update-queue', { queue: ['bob', 'alice'] })
  for (const client of members) await heard(client)
  await eventually(() => redis.exists(`participants:${session}`), 'written')
  await setu.kill()
  await setu.start()
  proxy.leadTo(setu.port)
  for (const client of members) {
    if (!client.connected) await within(occurs(client, 'connect'), () => 'the return')
    assert.equal(client.recovered, true)
    await next(client, 'session-joined', ({ iceServers }) => iceServers)
  }
  await done(alice, 'webrtc-offer', signal(alice, 'offer', 'bob', 'again'))
  assert.equal((await next(bob, 'webrtc-offer')).data, 'again')
  await done(bob, 'get-queue')
  assert.deepEqual((await next(bob, 'queue-updated', ({ queue }) => queue.length === 2)).queue.sort(), ['alice', 'bob'])
  const carol = await member(session, 'carol', { url: setu.url })
  assert.deepEqual([...carol.joined.participants].sort(), ['alice', 'bob', 'carol'])
  for (const client of [...members, carol]) client.disconnect()
  await proxy.stop()
  await setu.stop()
})

test('whoever was in another session before comes back to the last one after a restart', async () => {
  const [earlier, session] = [unique('s'), unique('s')]
  const setu = await startNode()
  const proxy = await startProxy(setu.port)
  const options = { url: proxy.origin, reconnection: true }
  const [moved, left] = [await member(earlier, 'moved', options), await member(earlier, 'left', options)]
  await done(left, 'leave-session', { participantId: 'left' })
  for (const client of [moved, left]) {
    client.session = session
    await done(client, 'join-session', { participantId: client.id_ })
    await heard(client)
  }
  await eventually(async () => (await redis.json(`participants:${session}`))?.join() === 'moved,left', 'written')
  await eventually(async () => !(await redis.exists(`participants:${earlier}`)), 'nobody is in the first one')
  await setu.kill()
  await setu.start()
  proxy.leadTo(setu.port)
  for (const client of [moved, left]) {
    if (!client.connected) await within(occurs(client, 'connect'), () => 'the return')
    assert.equal(client.recovered, true, client.id_)
    assert.equal((await next(client, 'session-joined', ({ iceServers }) => iceServers)).sessionId, session)
  }
  for (const client of [moved, left]) client.disconnect()
  await proxy.stop()
  await setu.stop()
})

test('those who do not come back after a restart are forgotten', async () => {
  const session = unique('s')
  const setu = await startNode()
  const ghost = await member(session, 'ghost', { url: setu.url })
  await eventually(() => redis.exists(`participants:${session}`), 'written')
  await setu.kill()
  await setu.start()
  const alice = await member(session, 'alice', { url: setu.url })
  await eventually(async () => (await redis.json(`participants:${session}`))?.join() === 'alice', 'the ghost is gone')
  assert.deepEqual((await member(session, 'bob', { url: setu.url })).joined.participants, ['alice', 'bob'])
  for (const client of [ghost, alice]) client.disconnect()
  await setu.stop()
})

const ago = (seconds) => Date.now() - seconds * 1000
const running = { duration: 60, timeRemaining: 50, isActive: true, isPaused: false }

for (const [what, timer, ttl, expected] of [
  ['a running timer', () => ({ ...running, startTime: ago(10) }), 3600,
    { timeLeft: 50, isActive: true, isPaused: false }],
  ['a paused timer',
    () => ({ ...running, isPaused: true, timeRemaining: 33, startTime: ago(40), pauseTime: ago(13) }), 3600,
    { timeLeft: 33, isActive: true, isPaused: true }],
  ['the application’s own timer', () => ({ startTime: ago(5), duration: 20 }), 20,
    { timeLeft: 15, isActive: true, isPaused: false }],
  ['a timer that has run out', () => ({ startTime: ago(30), duration: 20 }), 20, undefined],
  ['a timer that is not active', () => ({ ...running, isActive: false, startTime: ago(10) }), 3600, undefined],
]) {
  test(`${what} found in Redis is taken up`, async () => {
    const session = unique('s')
    const written = timer()
    if ('isActive' in written) written.sessionId = session
    await redis.command('SET', `timer:${session}`, JSON.stringify(written), 'EX', ttl)
    const setu = await startNode()
    const alice = await member(session, 'alice', { url: setu.url })
    if (expected) {
      const { timeLeft, timeRemaining, isActive, isPaused } = await told(alice, UPDATE)
      assert.equal(Math.abs(timeLeft - expected.timeLeft) <= 2, true, `${timeLeft} s are left`)
      assert.deepEqual({ timeLeft: timeRemaining, isActive, isPaused }, { ...expected, timeLeft })
    } else {
      assert.deepEqual(await heardBut(alice, UPDATE), [])
      const bob = await member(session, 'bob', { url: setu.url })
      assert.deepEqual(await heard(bob), [], 'there is no timer')
      bob.disconnect()
    }
    alice.disconnect()
    await setu.stop()
  })
}

test('a timer taken up ends in time', async () => {
  const session = unique('s')
  const startTime = ago(1)
  await redis.command('SET', `timer:${session}`, JSON.stringify({ startTime, duration: 6 }), 'EX', 6)
  const setu = await startNode()
  const alice = await member(session, 'alice', { url: setu.url })
  await told(alice, UPDATE, ({ isActive }) => !isActive)
  const late = Date.now() - startTime - 6000
  assert.equal(late > -1000 && late < 1500, true, `${late} ms late`)
  await eventually(async () => !(await redis.exists(`timer:${session}`)), 'no key is left')
  alice.disconnect()
  await setu.stop()
})
