// The parser monitor. The harness's own fences use it too, so silence is seen here by signals from each node.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { URLS, ask, eventually, member, next, settle, signal, told, unique } from './harness.js'

const STATUS = {
  id: 'parse-1', textType: 'गीता', status: 'running', progress: 12.5, currentChapter: 2, totalChapters: 18,
  currentVerse: 47, totalVerses: 700, processedVerses: 88, errors: 0, startTime: '2024-01-01T00:00:00.000Z', speed: 3.5,
}
const EVENTS = [
  ['parser-status-update', { type: 'parse_status', status: STATUS }],
  ['parser-log', { type: 'log', level: 'warning', message: 'अध्याय', details: { at: [1, null] } }],
  ['parser-progress-update', { type: 'progress', progress: 12.5 }],
  ['parser-stats-update', {
    type: 'stats', stats: { totalParsed: 7, totalErrors: 0, averageSpeed: 1.5, lastParseTime: null, successRate: 1 },
  }],
]
const SESSION = unique('s')

let witnesses
before(async () => {
  witnesses = await Promise.all(URLS.map((_, node) => member(SESSION, `witness-${node}`, { node })))
})
after(() => witnesses.forEach((client) => client.disconnect()))

test('a subscriber is told so, and how many there are', async () => {
  const [first, second] = [await watcher(), await watcher()]
  const one = await subscribe(first)
  assert.deepEqual(Object.keys(one).sort(), ['message', 'roomSize'])
  assert.equal(typeof one.message, 'string')
  const two = await subscribe(second)
  assert.equal(two.roomSize, one.roomSize + 1)
  assert.equal((await subscribe(second)).roomSize, two.roomSize, 'nobody counts twice')
  assert.deepEqual(await quiet(first), [], 'others are not told')
  await unsubscribe(second)
  assert.equal((await subscribe(first)).roomSize, one.roomSize)
  second.disconnect()
  await unsubscribe(first)
})

for (const [event, payload] of EVENTS) {
  test(`${event} reaches all subscribers as it is, with the server’s time`, async () => {
    const [first, second, outsider, sender] = await Promise.all([watcher(), watcher(), watcher(), watcher()])
    await subscribe(first)
    await subscribe(second)
    for (const by of [sender, first]) {
      const extra = { more: { unread: [1.0000000000000002] } }
      assert.equal((await ask(by, event, { ...payload, ...extra, timestamp: 1 })).ok, true)
      for (const client of [first, second]) assert.deepEqual(await told(client, event), { ...payload, ...extra })
    }
    await settle(sender)
    for (const client of [first, second, outsider, sender]) assert.deepEqual(await quiet(client), [])
    await unsubscribe(first)
    await ask(sender, event, payload)
    await told(second, event)
    assert.deepEqual(await quiet(first), [], 'no more')
    await unsubscribe(second)
  })
}

test('a test message is answered to the subscribers', async () => {
  const [subscriber, outsider] = [await watcher(), await watcher()]
  await subscribe(subscriber)
  for (const by of [subscriber, outsider]) {
    by.emit('test-message', { message: 'नमस्ते' })
    const response = await told(subscriber, 'test-response', (payload) => !isFence(payload))
    assert.deepEqual(Object.keys(response).sort(), ['message', 'originalMessage'])
    assert.equal(response.originalMessage, 'नमस्ते')
  }
  assert.deepEqual(await quiet(outsider), [])
  await unsubscribe(subscriber)
})

test('a test message may be junk', async () => {
  const [subscriber, sender] = [await watcher(), await watcher()]
  await subscribe(subscriber)
  for (const junk of [[], [null], [7], ['text'], [[1]], [{}], [{ message: null }], [{ message: { deep: 1 } }]]) {
    sender.emit('test-message', ...junk)
    assert.equal((await ask(sender, 'test-message', ...junk)).ok, true, JSON.stringify(junk))
  }
  assert.deepEqual(await quiet(sender), [], 'no error')
  const events = (await quiet(subscriber)).map(([event]) => event)
  assert.deepEqual(events.filter((event) => event !== 'test-response'), [])
  await unsubscribe(subscriber)
})

test('a subscription may come with junk, and twice', async () => {
  const client = await watcher()
  for (const junk of [[], [null], [{}], ['text'], [7]]) {
    client.emit('unsubscribe-parser-monitor', ...junk)
    client.emit('subscribe-parser-monitor', ...junk)
    await next(client, 'parser-monitor-subscribed')
  }
  await ask(client, 'parser-log', { type: 'log', level: 'info', message: 'once' })
  await next(client, 'parser-log')
  assert.deepEqual(await quiet(client), [])
  await unsubscribe(client)
})

test('a subscriber who is gone is counted no more', async () => {
  const [first, second] = [await watcher(), await watcher()]
  const { roomSize } = await subscribe(first)
  await subscribe(second)
  second.disconnect()
  await ask(first, 'unsubscribe-parser-monitor')
  await eventually(async () => {
    const now = await subscribe(first)
    await unsubscribe(first)
    return now.roomSize === roomSize
  }, 'one less')
})

test('a session may be named like the monitor’s room', async () => {
  const subscriber = await watcher()
  await subscribe(subscriber)
  for (const session of ['parser-monitor', 'parser_monitor', 'monitor', 'setu:monitor', '__monitor__']) {
    const alice = await member(session, 'alice')
    const bob = await member(session, 'bob')
    await ask(bob, 'webrtc-offer', signal(bob, 'offer', 'all', null))
    await next(alice, 'webrtc-offer')
    await ask(alice, 'parser-log', { type: 'log', level: 'info', message: session })
    assert.equal((await next(subscriber, 'parser-log')).message, session)
    for (const client of [alice, bob]) {
      assert.equal(client.told.some(([event]) => event.startsWith('parser-')), false, session)
      client.disconnect()
    }
  }
  assert.deepEqual(await quiet(subscriber), [])
  await unsubscribe(subscriber)
})

async function watcher() {
  const client = await member(SESSION, unique('w'))
  await quiet(client)
  return client
}

async function subscribe(client) {
  assert.equal((await ask(client, 'subscribe-parser-monitor')).ok, true)
  await settle(client)
  return next(client, 'parser-monitor-subscribed')
}

async function unsubscribe(client) {
  assert.equal((await ask(client, 'unsubscribe-parser-monitor')).ok, true)
  await settle(client)
  client.told = client.told.filter(([event]) => event !== 'test-response')
}

/** What `client` was told by the monitor, up to a signal from each node. */
async function quiet(client) {
  for (const witness of witnesses) {
    const data = unique('quiet')
    await ask(witness, 'webrtc-offer', signal(witness, 'offer', client.id_, data))
    await next(client, 'webrtc-offer', (payload) => payload.data === data)
  }
  const presence = ['session-joined', 'participant-joined', 'participant-left']
  return client.told.splice(0).filter(([event, payload]) =>
    !presence.includes(event) && !(event === 'test-response' && isFence(payload)))
}

const isFence = (payload) => JSON.stringify(payload).includes('fence')
