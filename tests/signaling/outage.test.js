// Redis goes away in mid-session and comes back: whoever is in a session does not notice.

import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { describe, test } from 'node:test'
import { setTimeout as passes } from 'node:timers/promises'
import { done, eventually, heard, heardBut, member, next, signal, told, unique, within } from './harness.js'
import { startRedis, startSetu } from './servers.js'

const AWAY_MS = 30_000
const LAST = 40
const UPDATE = 'session-timer-update'

async function twoNodes(redis, more = {}) {
  const variables = { SETU_STORE__REDIS_URL: redis.url, ...more }
  return [await startSetu(variables), await startSetu(variables)]
}

// Each waits most of the time: side by side they take no longer than one.
describe('Redis goes and comes back', { concurrency: true }, () => {
  for (const [what, options] of [
    ['has forgotten everything', []], ['remembers', ['appendonly', 'yes', 'appendfsync', 'always']],
  ]) {
    test(`a Redis that comes back and ${what} is given what happened meanwhile`, async () => {
      const redis = await startRedis(...options)
      const setu = await startSetu({ SETU_STORE__REDIS_URL: redis.url })
      const session = unique('s')
      const join = (id, name = session) => member(name, id, { url: setu.url })
      const [alice, bob, carol] = [await join('alice'), await join('bob'), await join('carol')]
      const [gone] = [await join('dave', unique('gone'))]
      await done(alice, 'update-queue', { queue: ['alice', 'bob', 'carol'] })
      await done(alice, 'start-session-timer', { duration: 120 })
      await told(alice, UPDATE)
      const started = alice.stamp
      const written = [`timer:${session}`, `participants:${gone.session}`]
      for (const key of written) await eventually(() => redis.exists(key), key)
      assert.equal((await setu.health()).status, 'ok')
      for (const client of [alice, bob, carol]) await heard(client)
      await redis.kill()

      const back = passes(AWAY_MS)
      await eventually(async () => {
        const { httpStatus, status } = await setu.health()
        assert.equal(httpStatus, 200)
        return status === 'degraded'
      }, 'health says so')
      await done(alice, 'webrtc-offer', signal(alice, 'offer', 'bob', 'meanwhile'))
      assert.equal((await next(bob, 'webrtc-offer')).data, 'meanwhile')
      await done(alice, 'finish-reading', { participantId: 'alice', verse: null })
      assert.equal((await next(bob, 'queue-updated')).currentReader, 'bob')
      await done(carol, 'leave-session', { participantId: 'carol' })
      await next(bob, 'participant-left')
      const erin = await join('erin')
      assert.deepEqual(erin.joined.participants, ['alice', 'bob', 'erin'])
      await done(gone, 'end-session')
      for (const [timeLeft, at] of [[110, 10_000], [100, 20_000]]) {
        for (const client of [alice, bob, erin]) await ticks(client, timeLeft, started + at)
      }
      await back
      await redis.start()

      await eventually(async () => (await setu.health()).status === 'ok', 'health says so')
      await eventually(async () =>
        (await redis.json(`participants:${session}`))?.join() === 'alice,bob,erin', 'the participants are right')
      await eventually(async () => (await redis.json(`timer:${session}`))?.duration === 120, 'the timer is right')
      await eventually(async () => (await redis.json(`signaling:${session}`))?.data === 'meanwhile', 'the message too')
      await eventually(async () => !(await redis.exists(`participants:${gone.session}`)), 'what has ended is gone')

      for (const client of [alice, bob, erin]) {
        await ticks(client, 80, started + 40_000)
        assert.equal(client.connected, true)
      }
      const known = [UPDATE, 'session-joined', 'reading-finished', 'queue-updated']
      assert.deepEqual((await heardBut(bob, ...known)).map(([event]) => event), ['participant-joined'])
      assert.deepEqual(await heardBut(erin, ...known), [])

      // What is in Redis now is the whole truth: a Setu that starts on it knows the rest too.
      await setu.kill()
      await setu.start()
      const frank = await join('frank')
      const { queue, currentReader } = await told(frank, 'queue-updated')
      assert.deepEqual([queue.filter((id) => id !== 'erin'), currentReader], [['bob'], 'bob'])
      for (const client of [alice, bob, carol, erin, frank, gone]) client.disconnect()
      await setu.stop()
      await redis.kill()
    })
  }

  for (const [when, starts] of [['once it is back', 'after'], ['while it is away', 'meanwhile']]) {
    test(`a Redis that has forgotten the secret is told it, and a node that starts ${when} shares it`, async () => {
      const redis = await startRedis()
      const nodes = await twoNodes(redis)
      const secret = await redis.command('GET', SECRET)
      await redis.kill()
      for (const setu of nodes) await eventually(async () => (await setu.health()).status === 'degraded', 'both know')
      const startThird = async () => nodes.push(await startSetu({ SETU_STORE__REDIS_URL: redis.url }))
      if (starts === 'meanwhile') await startThird()
      await redis.start()
      if (starts === 'after') {
        await eventually(async () => (await redis.command('GET', SECRET)) === secret, 'it is there again')
        await startThird()
      }

      for (const setu of nodes) {
        await eventually(async () => isSignedBy(await redis.command('GET', SECRET), await credential(setu)), setu.url)
      }
      for (const setu of nodes) await setu.stop()
      await redis.kill()
    })
  }

  test('a Redis that has forgotten whose credentials are refused is told it', async () => {
    const redis = await startRedis()
    const setu = await startSetu({ SETU_STORE__REDIS_URL: redis.url })
    const alice = await member(unique('s'), unique('alice'), { url: setu.url })
    await done(alice, 'leave-session', { participantId: alice.id_ })
    const key = `setu:revoked:${alice.id_}`
    await eventually(() => redis.exists(key), 'it is refused')
    const until = await redis.json(key)
    // A node that starts in between has read of it only.
    await setu.kill()
    await setu.start()
    await redis.kill()
    await eventually(async () => (await setu.health()).status === 'degraded', 'it knows')
    await redis.start()

    // Or up to a second more: the start has read of the leave too.
    await eventually(async () => (await redis.json(key)) >= until, 'it is refused again')
    const left = until - Date.now() / 1000
    assert.equal(Math.abs(await redis.ttl(key) - left) < 10, true, `${left} s`)
    alice.disconnect()
    await setu.stop()
    await redis.kill()
  })

  test('of who left since its copy was made, a Redis that comes back with an older one keeps nobody', async () => {
    const redis = await startRedis()
    const setu = await startSetu({ SETU_STORE__REDIS_URL: redis.url })
    const session = unique('s')
    const [alice, bob] = [await member(session, 'alice', { url: setu.url }), await member(session, 'bob', { url: setu.url })]
    const participants = async () => (await redis.json(`participants:${session}`))?.join()
    await eventually(async () => (await participants()) === 'alice,bob', 'both')
    await redis.command('SAVE')
    await done(bob, 'leave-session', { participantId: 'bob' })
    await eventually(async () => (await participants()) === 'alice', 'one')
    await redis.kill()
    await redis.start()
    await eventually(async () => (await participants()) === 'alice', 'one again')
    for (const client of [alice, bob]) client.disconnect()
    await setu.stop()
    await redis.kill()
  })

  test('a Setu that starts without its Redis serves, and writes when it comes', async () => {
    const redis = await startRedis()
    await redis.kill()
    const setu = await startSetu({ SETU_STORE__REDIS_URL: redis.url })
    assert.equal((await setu.health()).status, 'degraded')
    const session = unique('s')
    const alice = await member(session, 'alice', { url: setu.url })
    const bob = await member(session, 'bob', { url: setu.url })
    await done(alice, 'update-queue', { queue: ['bob'] })
    assert.equal((await next(bob, 'queue-updated')).currentReader, 'bob')
    await redis.start()
    await eventually(async () => (await redis.json(`participants:${session}`))?.join() === 'alice,bob', 'written')
    await eventually(async () => (await setu.health()).status === 'ok', 'health says so')
    for (const client of [alice, bob]) client.disconnect()
    await setu.stop()
    await redis.kill()
  })

  test('two nodes agree again when their Redis is back', async () => {
    const redis = await startRedis()
    const nodes = await twoNodes(redis)
    const session = unique('s')
    const join = (id, node) => member(session, id, { url: nodes[node].url })
    const [alice, bob] = [await join('alice', 0), await join('bob', 1)]
    await next(alice, 'participant-joined')
    await done(alice, 'update-queue', { queue: ['alice', 'bob'] })
    await next(bob, 'queue-updated')
    await redis.kill()
    for (const setu of nodes) await eventually(async () => (await setu.health()).status === 'degraded', 'both know')
    await done(alice, 'change-verse', { verse: 'by alice' })
    await done(bob, 'start-session-timer', { duration: 600 })
    const carol = await join('carol', 1)
    await passes(AWAY_MS)
    await redis.start()

    for (const client of [bob, carol]) assert.equal((await next(client, 'verse-changed')).verse, 'by alice')
    assert.equal((await told(alice, UPDATE)).isActive, true)
    assert.equal((await next(alice, 'participant-joined')).participantId, 'carol')
    await done(alice, 'webrtc-offer', signal(alice, 'offer', 'carol', 'welcome'))
    assert.equal((await next(carol, 'webrtc-offer')).data, 'welcome')
    await eventually(async () => (await redis.json(`participants:${session}`))?.length === 3, 'three')
    for (const client of [alice, bob, carol]) {
      assert.equal(client.connected, true)
      assert.equal(client.told.some(([event]) => event === 'participant-left'), false, 'nobody was thought gone')
      await done(client, 'get-queue')
      const { queue, currentReader } = await next(client, 'queue-updated', ({ queue }) => queue.length === 2)
      assert.deepEqual([queue, currentReader], [['alice', 'bob'], 'alice'])
    }
    // Only now: who leaves is out of the queue.
    for (const client of [alice, bob, carol]) client.disconnect()
    for (const setu of nodes) await setu.stop()
    await redis.kill()
  })

  test('whoever leaves meanwhile, on whatever node, is in no key afterwards', async () => {
    const redis = await startRedis()
    const nodes = await twoNodes(redis)
    const session = unique('s')
    const join = (id, node, name = session) => member(name, id, { url: nodes[node].url })
    const [alice, bob, carol] = [await join('alice', 0), await join('bob', 1), await join('carol', 1)]
    const other = unique('s')
    const [dora, emil] = [await join('dora', 0, other), await join('emil', 1, other)]
    for (const name of [session, other]) await eventually(() => redis.exists(`participants:${name}`), name)
    await redis.kill()
    for (const setu of nodes) await eventually(async () => (await setu.health()).status === 'degraded', 'both know')
    // Each node still believes that the other one has the first member, whose node writes the keys.
    await done(alice, 'leave-session', { participantId: 'alice' })
    await done(bob, 'leave-session', { participantId: 'bob' })
    const dave = await join('dave', 0)
    // A session ends, and another one begins under its name.
    await done(dora, 'end-session')
    const finn = await join('finn', 0, other)
    await done(emil, 'leave-session', { participantId: 'emil' })
    for (const client of [carol, dave, finn]) await heard(client)
    await redis.start()

    for (const setu of nodes) await eventually(async () => (await setu.health()).status === 'ok', 'both are back')
    await eventually(async () => (await redis.json(`participants:${session}`))?.join() === 'carol,dave', 'two stay')
    await eventually(async () => (await redis.json(`participants:${other}`))?.join() === 'finn', 'who began anew')
    assert.equal((await next(carol, 'participant-joined')).participantId, 'dave')
    for (const [i, setu] of nodes.entries()) {
      const late = await member(session, `late${i}`, { url: setu.url })
      assert.deepEqual(late.joined.participants, ['carol', 'dave', `late${i}`])
      await done(late, 'leave-session', { participantId: late.id_ })
    }
    const lost = (client) => client.told.filter(([event]) => event === 'participant-left').map(([, { participantId }]) =>
      participantId).filter((id) => !id.startsWith('late'))
    assert.deepEqual(lost(carol), ['alice'], 'once, and of bob before Redis was back')
    // They came after those who left.
    for (const client of [dave, finn]) assert.deepEqual(lost(client), client === dave ? ['bob'] : [])
    for (const setu of nodes) await setu.stop()
    await redis.kill()
  })

  test('what one node had read, and another had not, when Redis forgot it, all know in the end', async () => {
    const redis = await startRedis()
    const nodes = await twoNodes(redis)
    const session = unique('s')
    const join = (id, node) => member(session, id, { url: nodes[node].url })
    const [alice, bob] = [await join('alice', 0), await join('bob', 1)]
    await next(alice, 'participant-joined')
    nodes[1].freeze()
    await done(alice, 'change-verse', { verse: 'half read' })
    const carol = await join('carol', 0)
    // Written after it was read.
    await eventually(async () => (await redis.json(`participants:${session}`))?.length === 3, 'carol is listed')
    await redis.kill()
    nodes[1].wake()
    await eventually(async () => (await nodes[1].health()).status === 'degraded', 'it knows')
    await redis.start()

    assert.equal((await next(bob, 'verse-changed')).verse, 'half read')
    assert.deepEqual((await next(bob, 'session-joined', ({ participants }) => participants.length === 3)).participants,
      ['alice', 'bob', 'carol'])
    await done(bob, 'webrtc-offer', signal(bob, 'offer', 'carol', 'hello'))
    assert.equal((await next(carol, 'webrtc-offer')).data, 'hello')
    await eventually(async () =>
      (await redis.json(`participants:${session}`))?.join() === 'alice,bob,carol', 'the key is right')
    for (const client of [alice, bob, carol]) {
      assert.equal(client.told.some(([event]) => event === 'participant-left'), false, 'nobody was thought gone')
      client.disconnect()
    }
    for (const setu of nodes) await setu.stop()
    await redis.kill()
  })

  test('after an outage longer than what can wait the nodes agree again', async () => {
    const redis = await startRedis()
    // All that waited comes at once, which a busy client may take slowly.
    const nodes = await twoNodes(redis, { SETU_SIGNALING__OUTBOX_BYTES: '0' })
    const session = unique('s')
    const join = (id, node) => member(session, id, { url: nodes[node].url })
    const [alice, bob] = [await join('alice', 0), await join('bob', 1)]
    await next(alice, 'participant-joined')
    await done(alice, 'update-queue', { queue: ['alice', 'bob'] })
    await next(bob, 'queue-updated')
    await redis.kill()
    for (const setu of nodes) await eventually(async () => (await setu.health()).status === 'degraded', 'both know')
    const carol = await join('carol', 1)
    // More than the 16 MiB that wait for Redis.
    const verse = (number) => ({ number, text: 'x'.repeat(500_000) })
    for (let number = 0; number < LAST; number++) await done(alice, 'change-verse', { verse: verse(number) })
    await done(alice, 'start-session-timer', { duration: 600 })
    await done(alice, 'change-verse', { verse: verse(LAST) })
    await redis.start()

    for (const setu of nodes) await eventually(async () => (await setu.health()).status === 'ok', 'both are back')
    await next(bob, 'verse-changed', ({ verse }) => verse.number === LAST)
    await next(carol, 'verse-changed', ({ verse }) => verse.number === LAST)
    assert.equal((await told(bob, UPDATE)).isActive, true)
    await next(alice, 'participant-joined', ({ participantId }) => participantId === 'carol')
    await done(alice, 'webrtc-offer', signal(alice, 'offer', 'carol', 'welcome'))
    assert.equal((await next(carol, 'webrtc-offer')).data, 'welcome')
    await done(carol, 'update-queue', { queue: ['carol', 'bob'] })
    await next(alice, 'queue-updated', ({ currentReader }) => currentReader === 'carol')
    await eventually(async () =>
      [...(await redis.json(`participants:${session}`)) ?? []].sort().join() === 'alice,bob,carol', 'the key is right')
    for (const [i, setu] of nodes.entries()) {
      const late = await member(session, `late${i}`, { url: setu.url })
      assert.deepEqual([...late.joined.participants].slice(0, 3).sort(), ['alice', 'bob', 'carol'])
      assert.equal((await next(late, 'verse-changed')).verse.number, LAST)
      assert.deepEqual((await next(late, 'queue-updated')).queue, ['carol', 'bob'])
      assert.equal((await next(late, UPDATE)).isActive, true)
    }
    for (const client of [alice, bob, carol]) {
      assert.equal(client.connected, true)
      assert.equal(client.told.some(([event]) => event === 'participant-left'), false, 'nobody was thought gone')
    }
    for (const setu of nodes) await setu.stop()
    await redis.kill()
  })
})

const SECRET = 'setu:secret'

async function credential(setu) {
  const { iceServers } = await (await fetch(`${setu.url}/ice-servers?participantId=guest`)).json()
  return iceServers.find(({ username }) => username)
}

const isSignedBy = (secret, { username, credential }) =>
  credential === createHmac('sha1', secret).update(username).digest('base64')

/** The timer's tick comes in time, whatever Redis does. */
async function ticks(client, timeLeft, at) {
  await within(told(client, UPDATE, (payload) => payload.timeLeft === timeLeft), () => `tick ${timeLeft}`)
  // By the server's clock: this process may be busy.
  const late = client.stamp - at
  assert.equal(late > -200 && late < 1000, true, `the tick is ${late} ms late`)
}
