// The server's settings: nobody without a token.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  TRANSPORTS, ask, connect, connectError, done, heard, next, occurs, prepare, refused, signal, unique, within,
} from './harness.js'
import { token } from './jwt.js'

const now = () => Math.floor(Date.now() / 1000)

const REFUSED = [
  ['no token', undefined, 'TOKEN_REQUIRED'],
  ['null', null, 'TOKEN_REQUIRED'],
  ['an empty token', '', 'TOKEN_REQUIRED'],
  ['no text', 7, 'TOKEN_INVALID'],
  ['no token at all', 'Hari', 'TOKEN_INVALID'],
  ['another secret', token({ sub: 'alice' }, { secret: 'x'.repeat(40) }), 'TOKEN_INVALID'],
  ['no algorithm', token({ sub: 'alice' }, { header: { alg: 'none', typ: 'JWT' } }), 'TOKEN_INVALID'],
  ['no signature', token({ sub: 'alice' }).replace(/[^.]+$/, ''), 'TOKEN_INVALID'],
  ['another algorithm', token({ sub: 'alice' }, { header: { alg: 'HS512' }, hash: 'sha512' }), 'TOKEN_INVALID'],
  ['a tampered claim', tampered(token({ sub: 'alice' })), 'TOKEN_INVALID'],
  ['no subject', token({}), 'TOKEN_INVALID'],
  ['an empty subject', token({ sub: '' }), 'TOKEN_INVALID'],
  ['a subject that is no text', token({ sub: 7 }), 'TOKEN_INVALID'],
  ['a subject that is too long', token({ sub: 'x'.repeat(257) }), 'TOKEN_INVALID'],
  ['a session that is no text', token({ sub: 'alice', session: 7 }), 'TOKEN_INVALID'],
  ['not yet', token({ sub: 'alice', nbf: now() + 600 }), 'TOKEN_INVALID'],
  ['no more', token({ sub: 'alice', exp: now() - 600 }), 'TOKEN_EXPIRED'],
]

for (const transports of TRANSPORTS) {
  test(`who has no good token is told why (${transports})`, async () => {
    for (const [what, text, code] of REFUSED) {
      const error = await connectError({ transports, auth: text === undefined ? {} : { token: text } })
      assert.equal(error.data?.code, code, what)
      assert.equal(typeof error.message === 'string' && error.message !== '', true, what)
      const told = JSON.stringify([error.message, error.data])
      assert.equal(Boolean(text) && told.includes(JSON.stringify(text)), false, 'never the token')
    }
  })

  test(`who has one is let in (${transports})`, async () => {
    for (const claims of [{ sub: 'alice' }, { sub: 'alice', exp: undefined }, { sub: 'alice', nbf: now() - 5 }]) {
      const client = await connect({ transports, auth: { token: token(claims) } })
      assert.equal(client.connected, true)
      client.disconnect()
    }
  })
}

test('one joins as the token says, and as nobody else', async () => {
  const alice = await bearer({ sub: 'alice' })
  const session = unique('s')
  for (const participantId of ['bob', 'Alice', 'alice ']) {
    await refused(alice, 'join-session', [{ sessionId: session, participantId }], 'FORBIDDEN', participantId)
  }
  await join(alice, session)
  await refused(alice, 'webrtc-offer', [{ ...signal(alice, 'offer', 'all', null), from: 'bob' }], 'FORBIDDEN', 'from')
})

test('a token for one session opens no other', async () => {
  const session = unique('s')
  const alice = await bearer({ sub: 'alice', session })
  const elsewhere = { sessionId: unique('s'), participantId: 'alice' }
  await refused(alice, 'join-session', [elsewhere], 'FORBIDDEN', 'elsewhere')
  await join(alice, session)
})

test('the token’s name is shown unless the client gives another', async () => {
  const session = unique('s')
  const alice = await bearer({ sub: 'alice', name: 'Alice Devi' })
  await join(alice, session)
  assert.deepEqual(alice.joined.participantNames, { alice: 'Alice Devi' })
  const bob = await bearer({ sub: 'bob', name: 'Bob' })
  await join(bob, session, { participantName: 'Bobby' })
  assert.deepEqual(bob.joined.participantNames, { alice: 'Alice Devi', bob: 'Bobby' })
  assert.equal((await next(alice, 'participant-joined')).participantName, 'Bobby')
})

test('nobody acts for another, except a host', async () => {
  const session = unique('s')
  const [alice, bob] = [await bearer({ sub: 'alice' }), await bearer({ sub: 'bob', role: 'host' })]
  await join(alice, session)
  await join(bob, session)
  await done(bob, 'update-queue', { queue: ['alice', 'bob'] })
  for (const event of ['start-reading', 'finish-reading', 'skip-reading', 'skip-turn']) {
    const payload = { sessionId: session, participantId: 'bob', verse: 1 }
    await refused(alice, event, [payload], 'FORBIDDEN', event)
  }
  await heard(alice)
  await done(bob, 'skip-turn', { participantId: 'alice' })
  const { queue, currentReader } = await next(alice, 'queue-updated')
  assert.deepEqual([queue, currentReader], [['bob', 'alice'], 'bob'])
  const forged = { ...signal(bob, 'offer', 'all', null), from: 'alice' }
  await refused(bob, 'webrtc-offer', [forged], 'FORBIDDEN', 'a host speaks for nobody')
})

test('what a client missed is not given to another who knows its pid', async () => {
  const session = unique('s')
  const [alice, bob] = [await bearer({ sub: 'alice' }), await bearer({ sub: 'bob' })]
  await join(alice, session)
  await join(bob, session)
  await heard(alice)
  await done(bob, 'change-verse', { verse: 'before' })
  await next(alice, 'verse-changed')
  const { _pid: pid, _lastOffset: offset } = alice
  assert.equal(typeof pid, 'string')
  alice.io.engine.close()
  await next(bob, 'participant-left')
  await done(bob, 'change-verse', { verse: 'secret' })

  const mallory = prepare({ auth: { token: token({ sub: 'mallory' }) }, id: 'mallory' })
  Object.assign(mallory, { _pid: pid, _lastOffset: offset })
  const connected = occurs(mallory, 'connect')
  mallory.connect()
  await within(connected, () => 'connect')
  assert.equal(mallory.recovered, false)
  assert.deepEqual(await heard(mallory), [])
  assert.deepEqual((await heard(bob)).filter(([event]) => event === 'participant-joined'), [])
})

const bearer = (claims) => connect({ id: claims.sub, auth: { token: token(claims) } })

async function join(client, session, more = {}) {
  client.session = session
  client.joined = await ask(client, 'join-session', { sessionId: session, participantId: client.id_, ...more })
  assert.equal(client.joined.ok, true, JSON.stringify(client.joined))
  await next(client, 'session-joined')
}

function tampered(text) {
  const [header, , signature] = text.split('.')
  return [header, Buffer.from('{"sub":"bob"}').toString('base64url'), signature].join('.')
}
