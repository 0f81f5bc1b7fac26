// Nodes whose clocks differ. What they tell, and store, is by the clock of Redis, which is this machine's.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { eventually, member, next, unique, within } from './harness.js'
import { startRedis, startSetu } from './servers.js'

const UPDATE = 'session-timer-update'
// Far less than the clocks differ; this process may be busy.
const BUSY_MS = 5000
const LIBRARY = '/usr/lib/$LIB/faketime/libfaketime.so.1'
const wrong = (by) => ({ LD_PRELOAD: LIBRARY, FAKETIME: by, FAKETIME_DONT_FAKE_MONOTONIC: '1' })

// Each waits most of the time.
describe('clocks that differ', { concurrency: true }, () => {
  for (const by of ['+40s', '-40s']) {
    for (const [whose, victim] of [['the node that is wrong', 1], ['the node that is right', 0]]) {
      test(`a timer neither gains nor loses when ${whose}, by ${by}, dies in the middle of it`, async () => {
        const redis = await startRedis()
        const variables = { SETU_STORE__REDIS_URL: redis.url }
        const nodes = [await startSetu(variables), await startSetu({ ...variables, ...wrong(by) })]
        const session = unique('s')
        const join = (id, node) => member(session, id, { url: nodes[node].url })
        const members = [await join('alice', 0), await join('bob', 1)]
        await next(members[0], 'participant-joined')
        const doomed = members[victim]
        const stays = members[1 - victim]
        const asked = Date.now()
        await doomed.emitWithAck('start-session-timer', { sessionId: session, duration: 12 })
        const started = (await next(doomed, UPDATE)).timestamp
        assert.equal(Math.abs(started - asked) < BUSY_MS, true, `it started ${started - asked} ms later`)
        await shows(stays, 12, started)
        const { startTime } = await stored(redis, session)
        assert.equal(Math.abs(startTime - started) < 1000, true, `stored as started ${startTime - started} ms later`)
        for (const client of members) await shows(client, 7, started)
        await nodes[victim].kill()
        await shows(stays, 2, started)
        const late = await join('carol', 1 - victim)
        const { timeLeft, timestamp } = await next(late, UPDATE)
        assert.equal(Math.abs(timestamp + timeLeft * 1000 - started - 12_000) < 1500, true, `${timeLeft} s for carol`)
        assert.equal(Math.abs(timestamp - Date.now()) < BUSY_MS, true, 'whatever a node believes')
        const last = await within(next(stays, UPDATE, ({ isActive }) => !isActive), () => 'the end')
        assert.equal(last.timeLeft, 0)
        const took = last.timestamp - started
        assert.equal(Math.abs(took - 12_000) < 1000, true, `it ended after ${took} ms`)
        for (const client of [stays, late]) client.disconnect()
        for (const setu of nodes) await setu.stop()
        await redis.kill()
      })
    }
  }
})

async function shows(client, timeLeft, started) {
  const { timestamp } = await next(client, UPDATE, (payload) => payload.timeLeft === timeLeft)
  const due = started + (12 - timeLeft) * 1000
  assert.equal(Math.abs(Date.now() - due) < BUSY_MS, true, `${timeLeft} s left is told ${Date.now() - due} ms late`)
  assert.equal(Math.abs(timestamp - due) < 1000, true, `stamped ${timestamp - due} ms late`)
}

async function stored(redis, session) {
  await eventually(() => redis.exists(`timer:${session}`), 'the timer is stored')
  return redis.json(`timer:${session}`)
}
