import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ask, member, next, signal, unique } from './harness.js'

test('a client that does not read is cut off, the others get everything', async () => {
  const session = unique('s')
  const alice = await member(session, 'alice')
  const bob = await member(session, 'bob')
  const carol = await member(session, 'carol')
  bob.io.engine.transport.ws._socket.pause()
  const data = 'x'.repeat(50_000)
  const bobLeft = () => alice.told.some(([event]) => event === 'participant-left')
  let sent = 0
  while (!bobLeft() && sent < 5000) {
    await ask(alice, 'webrtc-offer', signal(alice, 'offer', 'all', data, { n: sent++ }))
  }
  assert.equal((await next(alice, 'participant-left')).participantId, 'bob')
  for (let n = 0; n < sent; n++) assert.equal((await next(carol, 'webrtc-offer')).n, n)
  await next(carol, 'participant-left')
  const back = new Promise((resolve) => bob.once('disconnect', resolve))
  bob.io.engine.transport.ws._socket.resume()
  await back
})
