// Time itself is what is tested here, so these tests live through it: all at once.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setTimeout as passes } from 'node:timers/promises'
import { ask, done, heard, heardBut, member, next, refused, room, told } from './harness.js'

const UPDATE = 'session-timer-update'
// How late a message may be on a busy machine, and how early by the rounding of clocks.
const LATE_MS = 900
const EARLY_MS = 60

describe('timers', { concurrency: true }, () => {
  test('a start is told to the room', async () => {
    const members = await room('alice', 'bob')
    await done(members[0], 'start-session-timer', { duration: 90 })
    for (const client of members) {
      assert.deepEqual(await told(client, UPDATE), running(client, 90))
      assert.deepEqual(await heard(client), [])
    }
  })

  test('a running timer ticks every five seconds, once for each', async () => {
    const members = await room('alice', 'bob', 'carol')
    const started = await start(members[0], 30)
    for (const client of members) await told(client, UPDATE)
    for (const [seconds, left] of [[5, 25], [10, 20]]) {
      for (const client of members) assert.deepEqual(await told(client, UPDATE), running(client, left))
      soonAfter(members[0], started + seconds * 1000, `the tick at ${seconds} s`)
    }
    await passes(2500)
    for (const client of members) assert.deepEqual(await heard(client), [])
  })

  test('a paused timer stands still', async () => {
    const members = await room('alice', 'bob')
    const [alice, bob] = members
    const started = await start(alice, 4)
    await passes(started + 1000 - Date.now())
    await done(bob, 'pause-session-timer')
    for (const client of members) {
      assert.equal((await told(client, UPDATE)).timeRemaining, 4)
      assert.deepEqual(await told(client, UPDATE), { ...running(client, 3), isPaused: true })
    }
    const paused = alice.stamp
    await passes(4000)
    for (const client of members) assert.deepEqual(await heard(client), [], 'no tick, no end')
    await done(alice, 'resume-session-timer')
    for (const client of members) assert.deepEqual(await told(client, UPDATE), running(client, 3))
    const stood = alice.stamp - paused
    for (const client of members) assert.deepEqual(await told(client, UPDATE), over(client))
    soonAfter(alice, started + 4000 + stood, 'the end')
  })

  test('many pauses cost no time and give none', async () => {
    const [alice, bob] = await room('alice', 'bob')
    const started = await start(alice, 3)
    let stood = 0
    await told(bob, UPDATE)
    for (let round = 0; round < 8; round++) {
      await ask(bob, 'pause-session-timer', { sessionId: bob.session })
      await told(bob, UPDATE, ({ isPaused }) => isPaused)
      const paused = bob.stamp
      await passes(200)
      await ask(bob, 'resume-session-timer', { sessionId: bob.session })
      await told(bob, UPDATE, ({ isPaused }) => !isPaused)
      stood += bob.stamp - paused
      await passes(50)
    }
    await told(bob, UPDATE, ({ isActive }) => !isActive)
    soonAfter(bob, started + 3000 + stood, 'the end')
  })

  test('a second pause and a second resume change nothing and are told to nobody', async () => {
    const members = await room('alice', 'bob')
    const [alice, bob] = members
    await start(alice, 600)
    for (const event of ['pause-session-timer', 'resume-session-timer']) {
      await done(alice, event)
      for (const client of members) await heard(client)
      for (const client of members) await done(client, event)
      for (const client of members) assert.deepEqual(await heard(client), [], event)
    }
    assert.equal(bob.connected, true)
  })

  test('without a timer there is nothing to pause or resume, and no error', async () => {
    const [alice, bob] = await room('alice', 'bob')
    await ask(alice, 'pause-session-timer', { sessionId: alice.session })
    await ask(alice, 'resume-session-timer', { sessionId: alice.session })
    for (const client of [alice, bob]) assert.deepEqual(await heard(client), [])
  })

  for (const duration of [0.4, 2, 6]) {
    test(`a timer of ${duration} s ends once, within a second of zero`, async () => {
      const members = await room('alice', 'bob')
      const started = await start(members[0], duration)
      for (const client of members) {
        assert.deepEqual(await told(client, UPDATE), running(client, Math.max(1, duration)))
        if (duration > 5) assert.deepEqual(await told(client, UPDATE), running(client, duration - 5))
        assert.deepEqual(await told(client, UPDATE), over(client))
      }
      soonAfter(members[0], started + duration * 1000, 'the end')
      const late = await member(members[0].session, 'late')
      assert.deepEqual(await heard(late), [], 'no timer is left')
      await passes(5500)
      for (const client of members) assert.deepEqual(await heardBut(client, 'session-joined', 'participant-joined'), [])
    })
  }

  test('another start replaces the timer, and only the new one ticks', async () => {
    const members = await room('alice', 'bob')
    await start(members[0], 40)
    await passes(2500)
    const again = await start(members[1], 30)
    await passes(again + 6500 - Date.now())
    for (const client of members) {
      const left = (await heard(client)).map(([, { timeRemaining }]) => timeRemaining)
      assert.deepEqual(left, [40, 30, 25])
    }
  })

  test('a start takes the pause away', async () => {
    const [alice, bob] = await room('alice', 'bob')
    await start(alice, 40)
    await done(alice, 'pause-session-timer')
    await start(alice, 50)
    await heard(alice)
    assert.deepEqual(await told(bob, UPDATE, ({ timeLeft }) => timeLeft === 50), running(bob, 50))
    const carol = await member(alice.session, 'carol')
    assert.deepEqual(await told(carol, UPDATE), running(carol, 50))
  })

  test('a newcomer is told the time that is left, and that it stands still', async () => {
    const [alice] = await room('alice')
    await start(alice, 30)
    await passes(1800)
    const bob = await member(alice.session, 'bob')
    assert.deepEqual(await told(bob, UPDATE), running(bob, 28))
    await done(alice, 'pause-session-timer')
    const carol = await member(alice.session, 'carol')
    assert.deepEqual(await told(carol, UPDATE), { ...running(carol, 28), isPaused: true })
  })

  test('the timer goes on when the one who started it leaves', async () => {
    const [alice, bob] = await room('alice', 'bob')
    const started = await start(alice, 7)
    alice.disconnect()
    await told(bob, UPDATE, ({ timeLeft }) => timeLeft === 2)
    soonAfter(bob, started + 5000, 'the tick')
    await told(bob, UPDATE, ({ isActive }) => !isActive)
    soonAfter(bob, started + 7000, 'the end')
  })

  test('a joiner again after the end makes no noise', async () => {
    const members = await room('alice', 'bob')
    await start(members[0], 1)
    for (const client of members) await told(client, UPDATE, ({ isActive }) => !isActive)
    for (const client of members) {
      await done(client, 'join-session', { participantId: client.id_ })
      await next(client, 'session-joined')
    }
    for (const client of members) assert.deepEqual(await heardBut(client, 'session-joined', UPDATE), [])
  })

  test('a client’s time is told to the room if it changes anything', async () => {
    const members = await room('alice', 'bob')
    const [alice, bob] = members
    await start(alice, 100)
    for (const client of members) await heard(client)
    await done(bob, UPDATE, { timeLeft: 40 })
    for (const client of members) assert.deepEqual(await told(client, UPDATE), running(client, 40))
    await done(alice, UPDATE, { timeLeft: 40 })
    for (const timeLeft of [undefined, null, '30', {}, [30], true]) {
      await ask(bob, UPDATE, { sessionId: bob.session, timeLeft })
    }
    for (const client of members) assert.deepEqual(await heard(client), [])
  })

  test('an echo that comes late gives the timer no time', async () => {
    const [alice, bob] = await room('alice', 'bob')
    const started = await start(alice, 4)
    const echo = await next(bob, UPDATE)
    await passes(1600)
    bob.emit(UPDATE, echo)
    for (const client of [alice, bob]) await told(client, UPDATE, ({ isActive }) => !isActive)
    soonAfter(bob, started + 4000, 'the end')
    assert.deepEqual((await heard(bob)), [])
  })

  test('a duration is a number above zero and up to a day', async () => {
    const [alice, bob] = await room('alice', 'bob')
    for (const duration of [0, -1, -0.5, 86_400.001, 86_401, 1e308, '60', null, undefined, true, {}, [60]]) {
      const payload = { sessionId: alice.session, duration }
      await refused(alice, 'start-session-timer', [payload], 'INVALID_DURATION', JSON.stringify(duration))
    }
    assert.deepEqual(await heard(bob), [])
    for (const [duration, timeRemaining] of [[86_400, 86_400], [59.6, 60], [0.5, 1]]) {
      await done(alice, 'start-session-timer', { duration })
      assert.equal((await told(bob, UPDATE)).timeRemaining, timeRemaining)
    }
  })
})

async function start(client, duration) {
  await ask(client, 'start-session-timer', { sessionId: client.session, duration })
  // The server's own time, however busy this process is.
  return client.told.findLast(([event]) => event === UPDATE)[1].timestamp
}

const running = ({ session: sessionId }, seconds) =>
  ({ sessionId, timeRemaining: seconds, timeLeft: seconds, isActive: true, isPaused: false })

const over = (client) => ({ ...running(client, 0), isActive: false })

/** What a client was told last was told in time. */
function soonAfter(client, due, what) {
  const late = client.stamp - due
  assert.equal(late > -EARLY_MS && late < LATE_MS, true, `${what} is ${late} ms late`)
}
