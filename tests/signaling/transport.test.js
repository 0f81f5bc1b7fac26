import assert from 'node:assert/strict'
import { request } from 'node:http'
import { test } from 'node:test'
import {
  TRANSPORTS, URL, ask, connect, done, eventually, heard, member, next, occurs, prepare, refused, signal, unique, within,
} from './harness.js'

const APP = 'http://localhost:3000'
const EVIL = 'https://evil.example'
const POLLING = `${URL}/socket.io/?EIO=4&transport=polling`

test('the handshake tells the contract’s figures', async () => {
  const text = await (await fetch(POLLING)).text()
  const { sid, ...open } = JSON.parse(text.slice(1))
  assert.equal(typeof sid, 'string')
  assert.deepEqual(open, { upgrades: ['websocket'], pingInterval: 25000, pingTimeout: 20000, maxPayload: 1000000 })
})

test('polling is open to the allowed origin alone', async () => {
  for (const [origin, expected] of [[APP, APP], [EVIL, APP], [undefined, APP]]) {
    const { headers } = await fetch(POLLING, { headers: origin ? { origin } : {} })
    assert.equal(headers.get('access-control-allow-origin'), expected)
    assert.equal(headers.get('access-control-allow-credentials'), 'true')
    assert.match(headers.get('vary'), /Origin/)
  }
  const preflight = await fetch(POLLING, {
    method: 'OPTIONS',
    headers: { origin: APP, 'access-control-request-method': 'POST', 'access-control-request-headers': 'x-one' },
  })
  assert.equal(preflight.status, 204)
  assert.equal(preflight.headers.get('access-control-allow-origin'), APP)
  assert.equal(preflight.headers.get('access-control-allow-methods'), 'GET,POST')
  assert.equal(preflight.headers.get('access-control-allow-headers'), 'x-one')
})

test('a preflight of a foreign page names the allowed origin, not its own', async () => {
  const headers = { origin: EVIL, 'access-control-request-method': 'POST' }
  const preflight = await fetch(POLLING, { method: 'OPTIONS', headers })
  assert.equal(preflight.status, 204)
  assert.equal(preflight.headers.get('access-control-allow-origin'), APP)
})

test('a refused request may be read by the allowed page too', async () => {
  const answer = await fetch(`${POLLING}&sid=nobody`, { headers: { origin: APP } })
  assert.deepEqual([answer.status, (await answer.json()).code], [400, 1])
  assert.equal(answer.headers.get('access-control-allow-origin'), APP)
  assert.equal(answer.headers.get('access-control-allow-credentials'), 'true')
})

for (const transports of TRANSPORTS) {
  test(`there is one namespace (${transports})`, async () => {
    const client = prepare({ url: `${URL}/admin`, transports })
    const refused = occurs(client, 'connect_error')
    client.connect()
    const [error] = await within(refused, () => 'connect_error')
    assert.equal(error.message, 'Invalid namespace')
    assert.equal(client.connected, false)
  })

  test(`what has attachments is refused, and the next is heard (${transports})`, async () => {
    const session = unique('s')
    const [alice, bob] = [await member(session, 'alice', { transports }), await member(session, 'bob', { transports })]
    for (const client of [alice, bob]) await heard(client)
    const bytes = Buffer.from([1, 2, 3])
    for (const data of [bytes, [bytes, bytes], Array(10).fill(bytes), { deep: { down: new Uint8Array(70_000) } }]) {
      await refused(alice, 'webrtc-offer', [signal(alice, 'offer', 'bob', data)], 'INVALID_PAYLOAD', 'bytes')
      alice.emit('whatever', data)
      await done(alice, 'webrtc-offer', signal(alice, 'offer', 'bob', 'text'))
      assert.equal((await next(bob, 'webrtc-offer')).data, 'text')
    }
    assert.deepEqual(await heard(bob), [])
    assert.deepEqual(await heard(alice), [])
  })
}

test('a foreign page’s WebSocket is refused', async () => {
  for (const [origin, expected] of [[undefined, 101], [APP, 101], [URL, 101], [EVIL, 403], ['null', 403]]) {
    assert.equal(await upgrade(origin), expected, String(origin))
  }
})

test('a client upgrades from polling to WebSocket and stays who it is', async () => {
  const session = unique('s')
  const bob = await member(session, 'bob')
  const alice = await member(session, 'alice', { transports: ['polling', 'websocket'] })
  if (alice.io.engine.transport.name === 'polling') {
    await new Promise((resolve) => alice.io.engine.once('upgrade', resolve))
  }
  await next(bob, 'participant-joined')
  const message = { type: 'offer', sessionId: session, from: 'alice', to: 'bob', data: null }
  await ask(alice, 'webrtc-offer', message)
  await next(bob, 'webrtc-offer')
  assert.equal((await heard(bob)).some(([event]) => event === 'participant-left'), false)
})

test('a client that connects again on the same connection is a new one', async () => {
  const session = unique('s')
  const bob = await member(session, 'bob')
  const alice = await member(session, 'alice')
  await next(bob, 'participant-joined')
  for (let round = 0; round < 20; round++) {
    const again = new Promise((resolve) => alice.once('connect', resolve))
    alice.io.engine.write('1') // DISCONNECT
    alice.io.engine.write('0') // CONNECT
    await again
    alice.emit('join-session', { sessionId: session, participantId: 'alice' })
    await next(alice, 'session-joined')
    await next(bob, 'participant-left')
    await next(bob, 'participant-joined')
    await ask(bob, 'webrtc-offer', signal(bob, 'offer', 'alice', round))
    assert.equal((await next(alice, 'webrtc-offer')).data, round)
  }
})

test('a message far over the limit ends its own connection only', async () => {
  const session = unique('s')
  const bob = await member(session, 'bob')
  const alice = await member(session, 'alice')
  const gone = new Promise((resolve) => alice.once('disconnect', resolve))
  alice.emit('webrtc-offer', { sessionId: session, from: 'alice', to: 'bob', data: 'x'.repeat(5_000_000) })
  await gone
  await next(bob, 'participant-left')
  assert.equal((await heard(bob)).some(([event]) => event === 'webrtc-offer'), false)
})

test('a flood ends its own connection only', async () => {
  const bystander = await member(unique('s'), 'bob')
  const { sid } = JSON.parse((await (await fetch(POLLING)).text()).slice(1))
  const flooder = `${POLLING}&sid=${sid}`
  await fetch(flooder, { method: 'POST', body: '40' })
  const flood = Array(40_000).fill('42["get-ice-servers"]').join('\x1e')
  await fetch(flooder, { method: 'POST', body: flood })
  let last = ''
  for (let polls = 0; polls < 100 && !last.split('\x1e').includes('41'); polls++) {
    const answer = await fetch(flooder)
    last = await answer.text()
    if (answer.status !== 200) break
  }
  assert.equal(last.split('\x1e').includes('41') || last.includes('Session ID unknown'), true, last.slice(-200))
  assert.deepEqual(await heard(bystander), [])
})

test('clients that come and go at once leave nothing behind', async () => {
  const session = unique('s')
  const alice = await member(session, 'alice')
  const others = await Promise.all(Array.from({ length: 50 }, () => connect()))
  others.forEach((client, i) => {
    client.emit('join-session', { sessionId: session, participantId: `p${i}` })
    client.disconnect()
  })
  await eventually(async () => {
    const { joined } = await member(session, 'alice')
    return joined.participants.length === 1
  }, 'everybody else gone')
  const told = (await heard(alice)).map(([event]) => event)
  const of = (wanted) => told.filter((event) => event === wanted).length
  assert.equal(of('participant-joined') >= of('participant-left'), true)
})

function upgrade(origin) {
  return new Promise((resolve, reject) => {
    const headers = {
      connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': '13',
      'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==', ...(origin && { origin }),
    }
    const asked = request(`${URL}/socket.io/?EIO=4&transport=websocket`, { headers })
    asked.on('upgrade', (response, socket) => { socket.destroy(); resolve(response.statusCode) })
    asked.on('response', (response) => { response.resume(); resolve(response.statusCode) })
    asked.on('error', reject)
    asked.end()
  })
}
