import assert from 'node:assert/strict'
import { afterEach, test } from 'node:test'
import { ask, connect, counts, done, eventually, heard, member, next, unique } from './harness.js'
import { allocate } from './turn.js'

const ALLOCATED = 'allocated'
const GRACE_MS = 2000
const portsFree = () => eventually(async () => (await counts()).relayPorts === 0, 'relay ports free')
const turnOf = ({ iceServers }) => iceServers.find(({ username }) => username)

afterEach(portsFree)

test('the credential of a join opens the relay, and an explicit leave ends it at once', async () => {
  const session = unique('s')
  const alice = await member(session, unique('alice'))
  assert.equal(await allocate(turnOf(alice.joined)), ALLOCATED)
  assert.equal((await counts()).relayPorts, 1)
  await done(alice, 'leave-session', { participantId: alice.id_ })
  await portsFree()
  assert.equal(await allocate(turnOf(alice.joined)), 401)
})

test('a credential issued after a return is good even within the same second', async () => {
  const session = unique('s')
  const alice = await member(session, unique('alice'))
  await done(alice, 'leave-session', { participantId: alice.id_ })
  const again = await done(alice, 'join-session', { participantId: alice.id_ })
  assert.equal(await allocate(turnOf(alice.joined)), 401)
  assert.equal(await allocate(turnOf(again)), ALLOCATED)
  await done(alice, 'leave-session', { participantId: alice.id_ })
})

test('a disconnect packet is a goodbye', async () => {
  const alice = await member(unique('s'), unique('alice'))
  assert.equal(await allocate(turnOf(alice.joined)), ALLOCATED)
  alice.disconnect()
  await portsFree()
  assert.equal(await allocate(turnOf(alice.joined)), 401)
})

test('a lost transport keeps the relay for the grace, and no longer', async () => {
  const session = unique('s')
  const bob = await member(session, unique('bob'))
  const alice = await member(session, unique('alice'))
  assert.equal(await allocate(turnOf(alice.joined)), ALLOCATED)
  alice.io.engine.close()
  await next(bob, 'participant-left')
  assert.equal((await counts()).relayPorts, 1)
  await portsFree()
  assert.equal(await allocate(turnOf(alice.joined)), 401)
})

test('who returns within the grace keeps the relay', async () => {
  const session = unique('s')
  const id = unique('alice')
  const alice = await member(session, id)
  assert.equal(await allocate(turnOf(alice.joined)), ALLOCATED)
  const lost = Date.now()
  alice.io.engine.close()
  const again = await member(session, id)
  await eventually(() => Date.now() > lost + GRACE_MS + 500, 'the grace is over')
  assert.equal((await counts()).relayPorts, 1)
  assert.equal(await allocate(turnOf(again.joined)), ALLOCATED)
  again.disconnect()
})

test('losing one of two sockets costs nothing', async () => {
  const session = unique('s')
  const id = unique('alice')
  const first = await member(session, id)
  const second = await member(session, id)
  assert.equal(await allocate(turnOf(first.joined)), ALLOCATED)
  first.disconnect()
  await heard(second)
  assert.equal((await counts()).relayPorts, 1)
  second.disconnect()
})

test('a participant in several sessions keeps the relay until they have left the last', async () => {
  const id = unique('alice')
  const [one, two] = [await member(unique('s'), id), await member(unique('s'), id)]
  assert.equal(await allocate(turnOf(one.joined)), ALLOCATED)
  await done(one, 'leave-session', { participantId: id })
  assert.equal((await counts()).relayPorts, 1)
  await done(two, 'leave-session', { participantId: id })
  await portsFree()
})

test('who moves to another session keeps the relay', async () => {
  const alice = await member(unique('s'), unique('alice'))
  assert.equal(await allocate(turnOf(alice.joined)), ALLOCATED)
  await done(alice, 'join-session', { sessionId: unique('s'), participantId: alice.id_ })
  assert.equal(await allocate(turnOf(alice.joined)), ALLOCATED)
  alice.disconnect()
})

test('who leaves at once after a move leaves the relay too', async () => {
  for (let round = 0; round < 50; round++) {
    const alice = await member(unique('s'), unique('alice'))
    assert.equal(await allocate(turnOf(alice.joined)), ALLOCATED)
    await done(alice, 'join-session', { sessionId: unique('s'), participantId: alice.id_ })
    alice.disconnect()
    await portsFree()
  }
})

test('the end of a session ends the relay of all its participants at once', async () => {
  const session = unique('s')
  const members = [await member(session, unique('alice')), await member(session, unique('bob'))]
  for (const { joined } of members) assert.equal(await allocate(turnOf(joined)), ALLOCATED)
  await done(members[0], 'end-session', { reason: 'over' })
  await portsFree()
  for (const { joined } of members) assert.equal(await allocate(turnOf(joined)), 401)
  for (const client of members) {
    const again = await done(client, 'join-session', { participantId: client.id_ })
    assert.equal(await allocate(turnOf(again)), ALLOCATED)
    client.disconnect()
  }
})

test('get-ice-servers answers its asker, by event and by acknowledgement', async () => {
  const session = unique('s')
  const alice = await member(session, 'alice')
  const bob = await member(session, 'bob')
  await heard(alice)
  const { ok, ...acked } = await ask(bob, 'get-ice-servers', { sessionId: session })
  assert.equal(ok, true)
  assert.deepEqual(Object.keys(acked).sort(), ['expiresAt', 'iceServers', 'ttl'])
  assert.deepEqual(await next(bob, 'ice-servers'), acked)
  assert.equal(acked.ttl, 5)
  assert.deepEqual(await heard(alice), [])
  alice.disconnect()
  bob.disconnect()
})

test('a credential is replaced before it expires', async () => {
  const alice = await member(unique('s'), unique('alice'))
  const bystander = await connect()
  const pushed = await next(alice, 'ice-servers')
  const left = Date.parse(alice.joined.iceExpiresAt) - Date.now()
  assert.equal(left > 0 && left < 2500, true, `pushed when ${left} ms of 5 s were left`)
  assert.equal(new Date(pushed.expiresAt) > new Date(alice.joined.iceExpiresAt), true)
  assert.equal(await allocate(turnOf(pushed)), ALLOCATED)
  assert.deepEqual(await heard(bystander), [])
  alice.disconnect()
})
