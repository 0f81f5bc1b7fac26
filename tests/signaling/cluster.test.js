// Two nodes on a Redis Cluster of three masters and three replicas, of which one is killed.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { done, eventually, heard, member, next, signal, told, unique } from './harness.js'
import { startRedisCluster, startSetu } from './servers.js'

let redis
let nodes
before(async () => {
  redis = await startRedisCluster()
  const variables = { SETU_STORE__REDIS_URL: redis.url }
  nodes = [await startSetu(variables), await startSetu(variables)]
})
after(async () => {
  for (const setu of nodes) await setu.stop()
  for (const server of redis.nodes) await server.kill()
})

const joins = (session, id, node) => member(session, id, { url: nodes[node].url })
/** A node of the Cluster that lives. */
const any = () => redis.nodes.find(({ dead }) => !dead)

test('two nodes on a Cluster are one', async () => {
  // So many that each master has some of their keys.
  const sessions = Array.from({ length: 12 }, () => unique('s'))
  for (const session of sessions) {
    const [alice, bob] = [await joins(session, 'alice', 0), await joins(session, 'bob', 1)]
    await next(alice, 'participant-joined')
    await done(alice, 'update-queue', { queue: ['bob', 'alice'] })
    assert.equal((await next(bob, 'queue-updated')).currentReader, 'bob')
    await done(bob, 'start-session-timer', { duration: 600 })
    assert.equal((await told(alice, 'session-timer-update')).timeLeft, 600)
    await done(bob, 'webrtc-offer', signal(bob, 'offer', 'alice', 'hello'))
    assert.equal((await next(alice, 'webrtc-offer')).data, 'hello')
    await eventually(async () => (await any().json(`participants:${session}`))?.length === 2, 'both are listed')
    await eventually(async () => (await any().json(`timer:${session}`))?.duration === 600, 'the timer')
    await done(alice, 'end-session')
    await next(bob, 'session-ended')
    for (const kind of ['participants', 'timer', 'signaling']) {
      await eventually(async () => !(await any().exists(`${kind}:${session}`)), `${kind} deleted`)
    }
    for (const client of [alice, bob]) client.disconnect()
  }
})

for (const of of ['setu:log', 'a session']) {
  test(`the death of the master that has ${of} goes unnoticed`, async () => {
    const session = unique('s')
    const [alice, bob] = [await joins(session, 'alice', 0), await joins(session, 'bob', 1)]
    await next(alice, 'participant-joined')
    await eventually(async () => (await any().json(`participants:${session}`))?.length === 2, 'written')
    const master = await masterOf(of === 'a session' ? `participants:${session}` : of)
    for (const client of [alice, bob]) await heard(client)
    master.dead = true
    await master.kill()

    await done(alice, 'change-verse', { verse: 'meanwhile' })
    await done(bob, 'update-queue', { queue: ['alice', 'bob'] })
    assert.equal((await next(bob, 'verse-changed')).verse, 'meanwhile')
    assert.equal((await next(alice, 'queue-updated')).currentReader, 'alice')
    const carol = await joins(session, 'carol', 1)
    await next(alice, 'participant-joined')
    await eventually(async () => {
      const list = await any().json(`participants:${session}`).catch(() => undefined)
      return list?.join() === 'alice,bob,carol'
    }, 'the key is right')
    for (const client of [alice, bob, carol]) {
      assert.equal(client.connected, true)
      assert.equal(client.told.some(([event]) => ['participant-left', 'error'].includes(event)), false)
      client.disconnect()
    }
    await master.start()
    master.dead = false
    const follows = async () => (await master.command('INFO', 'replication')).includes('master_link_status:up')
    await eventually(follows, 'it is a replica now')
  })
}

async function masterOf(key) {
  const slot = Number(await any().command('CLUSTER', 'KEYSLOT', key))
  const lines = (await any().command('CLUSTER', 'NODES')).split('\n')
  const line = lines.find((line) => line.includes('master') && !line.includes('fail') && line.split(' ').slice(8)
    .some((range) => {
      const [from, to = from] = range.split('-').map(Number)
      return slot >= from && slot <= to
    }))
  const port = Number(/:(\d+)@/.exec(line)[1])
  return redis.nodes.find((node) => node.port === port)
}
