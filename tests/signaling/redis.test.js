// What the application's own code finds in Redis beside Setu, and what it may leave there.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { done, eventually, member, next, signal, told, unique } from './harness.js'
import { startRedis, startSetu } from './servers.js'

const HOUR_S = 3600

let redis
let setu
before(async () => {
  redis = await startRedis()
  await redis.command('SET', 'participants:junk before', 'no JSON')
  await redis.command('HSET', 'timer:junk before', 'a', 'hash')
  await redis.command('SET', 'timer:more junk', '{"duration":')
  await redis.command('SET', 'setu:session:junk', '[1,2')
  setu = await startSetu({ SETU_STORE__REDIS_URL: redis.url })
})
after(async () => {
  await setu.stop()
  await redis.kill()
})

const joins = (session, id, options) => member(session, id, { url: setu.url, ...options })
const leaves = (client) => done(client, 'leave-session', { participantId: client.id_ })

test('participants are listed in the order of their joins, each once', async () => {
  const key = `participants:${unique('सत्र {1}')}`
  const session = key.slice('participants:'.length)
  const members = []
  for (const id of ['carol', 'alice', 'श्री', 'alice']) members.push(await joins(session, id))
  await keyBecomes(key, ['carol', 'alice', 'श्री'])
  await lives(key, HOUR_S)
  await leaves(members[0])
  await keyBecomes(key, ['alice', 'श्री'])
  members[1].disconnect()
  await leaves(members[2])
  await keyBecomes(key, ['alice'])
  members[3].disconnect()
  await keyBecomes(key, undefined)
})

test('ids that the application has added stay where they are', async () => {
  const session = unique('s')
  const key = `participants:${session}`
  const alice = await joins(session, 'alice')
  await keyBecomes(key, ['alice'])
  await redis.command('SET', key, '["alice","by the application"]', 'EX', HOUR_S)
  const bob = await joins(session, 'bob')
  await keyBecomes(key, ['alice', 'by the application', 'bob'])
  await leaves(alice)
  await keyBecomes(key, ['by the application', 'bob'])
  await leaves(bob)
  await keyBecomes(key, ['by the application'])
})

test('an empty list that the application has left is filled again', async () => {
  const session = unique('s')
  const key = `participants:${session}`
  const alice = await joins(session, 'alice')
  await keyBecomes(key, ['alice'])
  await redis.command('SET', key, '[]')
  const bob = await joins(session, 'bob')
  await eventually(async () => (await redis.json(key)).includes('bob'), 'bob is listed')
  await lives(key, HOUR_S)
  await Promise.all([alice, bob].map(leaves))
  await keyBecomes(key, undefined)
})

test('the timer is kept as the contract has it', async () => {
  const session = unique('s')
  const key = `timer:${session}`
  const alice = await joins(session, 'alice')
  await done(alice, 'start-session-timer', { duration: 600 })
  const started = Date.now()
  await eventually(() => redis.exists(key), key)
  const { startTime, ...running } = await redis.json(key)
  const state = { sessionId: session, duration: 600, timeRemaining: 600, isActive: true, isPaused: false }
  assert.deepEqual(running, state)
  assert.equal(Number.isInteger(startTime) && Math.abs(startTime - started) < 2000, true, String(startTime))
  await lives(key, HOUR_S)

  await done(alice, 'pause-session-timer')
  await eventually(async () => (await redis.json(key)).isPaused, 'paused')
  const { pauseTime, ...paused } = await redis.json(key)
  assert.equal(Number.isInteger(pauseTime) && Math.abs(pauseTime - Date.now()) < 2000, true, String(pauseTime))
  assert.equal(typeof paused.startTime, 'number')
  assert.deepEqual({ ...paused, startTime }, { ...state, isPaused: true, startTime })
  await lives(key, HOUR_S)

  await done(alice, 'resume-session-timer')
  await eventually(async () => !(await redis.json(key)).isPaused, 'resumed')
  assert.equal('pauseTime' in (await redis.json(key)), false)
  await redis.command('EXPIRE', key, 100)
  await told(alice, 'session-timer-update', ({ timeLeft }) => timeLeft === 595)
  await eventually(async () => (await redis.json(key)).timeRemaining === 595, 'what is left')
  await lives(key, HOUR_S)
  await done(alice, 'end-session')
  await keyBecomes(key, undefined)
})

test('a timer that has run out leaves no key', async () => {
  const session = unique('s')
  const alice = await joins(session, 'alice')
  await done(alice, 'start-session-timer', { duration: 1.5 })
  await eventually(() => redis.exists(`timer:${session}`), 'a key')
  await told(alice, 'session-timer-update', ({ isActive }) => !isActive)
  await keyBecomes(`timer:${session}`, undefined)
})

test("the application's own timer is left alone, until the session ends", async () => {
  const session = unique('s')
  const key = `timer:${session}`
  const own = { startTime: Date.now(), duration: 300 }
  await redis.command('SET', key, JSON.stringify(own), 'EX', 300)
  const [alice, bob] = [await joins(session, 'alice'), await joins(session, 'bob')]
  await done(alice, 'update-queue', { queue: ['alice', 'bob'] })
  await leaves(bob)
  await keyBecomes(`participants:${session}`, ['alice'])
  assert.deepEqual(await redis.json(key), own)
  await lives(key, 300)
  await leaves(alice)
  await keyBecomes(`participants:${session}`, undefined)
  assert.deepEqual(await redis.json(key), own)
  const carol = await joins(session, 'carol')
  await keyBecomes(`participants:${session}`, ['carol'])
  await done(carol, 'end-session')
  await keyBecomes(key, undefined)
})

test('the last signaling message is kept', async () => {
  const session = unique('s')
  const key = `signaling:${session}`
  const [alice, bob] = [await joins(session, 'alice'), await joins(session, 'bob')]
  for (const [by, type, to, data] of [
    [alice, 'offer', 'bob', { type: 'offer', sdp: 'v=0\r\n' }],
    [bob, 'answer', 'all', { type: 'answer', sdp: 'v=0\r\n' }],
    [alice, 'ice-candidate', undefined, null],
  ]) {
    await done(by, `webrtc-${type}`, signal(by, type, to, data))
    await eventually(async () => (await redis.json(key))?.type === type, type)
    const { timestamp, ...message } = await redis.json(key)
    const expected = { type, sessionId: session, from: by.id_, ...(to && { to }), data }
    assert.deepEqual(message, expected)
    assert.equal(Math.abs(Date.now() - timestamp) < 5000, true)
    await lives(key, HOUR_S)
  }
  await done(alice, 'end-session')
  await keyBecomes(key, undefined)
})

test('the end of a session deletes its keys, and only its', async () => {
  const [one, two] = [unique('s'), unique('s')]
  const kinds = ['participants', 'timer', 'signaling']
  const members = []
  for (const session of [one, two]) {
    const alice = await joins(session, 'alice')
    members.push(alice)
    await done(alice, 'start-session-timer', { duration: 600 })
    await done(alice, 'webrtc-offer', signal(alice, 'offer', 'all', null))
    for (const kind of kinds) await eventually(() => redis.exists(`${kind}:${session}`), kind)
  }
  await done(members[0], 'end-session')
  for (const kind of kinds) {
    await keyBecomes(`${kind}:${one}`, undefined)
    assert.equal(await redis.exists(`${kind}:${two}`), true, kind)
  }
})

test('everything else of ours has our prefix, and what is of a session does not outlive it long', async () => {
  const alice = await joins(unique('s'), 'alice')
  await done(alice, 'update-queue', { queue: ['alice'] })
  await done(alice, 'change-verse', { verse: 1 })
  await eventually(() => redis.exists(`participants:${alice.session}`), 'written')
  const keys = (await redis.command('KEYS', '*')).split('\n')
  for (const key of keys.filter((key) => !key.includes('junk') && !/^(participants|timer|signaling):/.test(key))) {
    assert.match(key, /^setu:/)
    if (key.startsWith('setu:session:')) await lives(key, HOUR_S)
  }
})

test('junk hurts nobody but its own key', async () => {
  const [broken, whole] = [unique('s'), unique('s')]
  const junk = ['no JSON', '{"a":', '7', 'null', '"text"', '{}', '[[1],{"a":1},null,7]']
  for (const text of junk) {
    for (const kind of ['participants', 'timer', 'signaling']) await redis.command('SET', `${kind}:${broken}`, text)
    const [alice, bob] = [await joins(broken, 'alice'), await joins(broken, 'bob')]
    await done(alice, 'update-queue', { queue: ['bob', 'alice'] })
    assert.equal((await next(bob, 'queue-updated')).currentReader, 'bob')
    await done(alice, 'webrtc-offer', signal(alice, 'offer', 'bob', null))
    await next(bob, 'webrtc-offer')
    await done(alice, 'start-session-timer', { duration: 60 })
    await keyBecomes(`participants:${broken}`, ['alice', 'bob'])
    await done(alice, 'end-session')
    for (const client of [alice, bob]) client.disconnect()
    await keyBecomes(`participants:${broken}`, undefined)
  }
  for (const kind of ['participants', 'timer', 'signaling']) {
    await redis.command('DEL', `${kind}:${broken}`)
    await redis.command('HSET', `${kind}:${broken}`, 'a', 'hash')
  }
  const alice = await joins(broken, 'alice')
  await done(alice, 'start-session-timer', { duration: 60 })
  const other = await joins(whole, 'alice')
  await keyBecomes(`participants:${whole}`, ['alice'])
  assert.equal((await setu.health()).httpStatus, 200)
  for (const client of [alice, other]) client.disconnect()
})

async function keyBecomes(key, expected) {
  let found
  try {
    await eventually(async () => {
      found = await redis.json(key).catch((error) => error.message)
      return JSON.stringify(found) === JSON.stringify(expected)
    }, key)
  } catch {
    assert.deepEqual(found, expected, key)
  }
}

async function lives(key, seconds) {
  const ttl = await redis.ttl(key)
  assert.equal(ttl > seconds - 10 && ttl <= seconds, true, `${key} lives for ${ttl} s`)
}
