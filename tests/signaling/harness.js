// Clients that remember what they were told, and ways to await it.
//
// The server may be one node or several with one store: SETU_URLS names them all. Clients alternate between the nodes
// unless a test says which one it wants, and no test may notice.

import assert from 'node:assert/strict'
import { after } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { io } from 'socket.io-client'

export const URLS = (process.env.SETU_URLS ?? '').split(',').filter((url) => url !== '')
export const URL = URLS[0]
export const TRANSPORTS = [['websocket'], ['polling'], ['polling', 'websocket']]
export const DEADLINE_MS = 20_000

const clients = new Set()
// Even those whose transport a test has stopped: nothing may keep the process alive.
after(() => clients.forEach((client) => client.disconnect().io.engine?.transport.ws?.terminate()))

let counter = 0
/** A name that no other test uses. */
export const unique = (prefix) => `${prefix}-${process.pid}-${counter++}`

let turn = 0
/** A client that is not connected yet; its `told` will hold every [event, payload] in order. */
export function prepare({ node = turn++ % URLS.length, url = URLS[node], id, name, ...options } = {}) {
  const client = io(url, {
    transports: ['websocket'], forceNew: true, reconnection: false, autoConnect: false, ...options,
  })
  clients.add(client)
  client.id_ = id
  client.name_ = name
  client.told = []
  client.onAny((event, payload) => {
    if (!(client.fenced && FENCE_EVENTS.includes(event))) client.told.push([event, payload])
  })
  return client
}

/** A connected client. */
export async function connect(options) {
  const client = prepare(options)
  const connected = occurs(client, 'connect')
  client.connect()
  await within(connected, () => 'connect')
  return client
}

/** Why a client is not let in. */
export async function connectError(options) {
  const client = prepare(options)
  const [connected, refused] = [occurs(client, 'connect'), occurs(client, 'connect_error')]
  client.connect()
  const [error] = await within(Promise.race([refused, connected.then(() => [null])]), () => 'connect_error')
  client.disconnect()
  assert.notEqual(error, null, 'the client was let in')
  return error
}

/** A client that has joined `session` as `id`; `joined` is its own copy of session-joined. */
export async function member(session, id, options = {}) {
  const client = await connect({ ...options, id })
  client.session = session
  const name = options.name === undefined ? {} : { participantName: options.name }
  client.emit('join-session', { sessionId: session, participantId: id, ...name })
  client.joined = await next(client, 'session-joined')
  await settle(client)
  return client
}

/** Members of a session of their own, who have taken note of each other. */
export async function room(...ids) {
  const session = unique('s')
  const members = []
  for (const id of ids) members.push(await member(session, id))
  await Promise.all(members.map(heard))
  return members
}

/** Takes the earliest untaken `event` that satisfies `wanted`, waiting for it if need be. */
export async function next(client, event, wanted = () => true) {
  const find = () => client.told.findIndex(([name, payload]) => name === event && wanted(payload))
  let take
  const found = new Promise((resolve) => {
    take = () => {
      const at = find()
      if (at < 0) return false
      client.offAny(take)
      resolve(client.told.splice(at, 1)[0][1])
      return true
    }
    if (!take()) client.onAny(take)
  })
  try {
    return await within(found, () => `${event} (told so far: ${JSON.stringify(client.told).slice(0, 2000)})`)
  } finally {
    client.offAny(take)
  }
}

/** The same for an event that is stamped: the payload without its stamp, which is the client's `stamp` from then on. */
export async function told(client, event, wanted) {
  const { timestamp, ...payload } = await next(client, event, wanted)
  client.stamp = timestamp
  assert.equal(Number.isInteger(timestamp), true, `${event}: ${timestamp}`)
  const age = Date.now() - timestamp
  assert.equal(age >= -5 && age < DEADLINE_MS, true, `${event} is ${age} ms old`)
  return payload
}

/** What `client` is asked to do and how the server acknowledges it. */
export const ask = (client, event, ...payload) =>
  within(client.timeout(DEADLINE_MS).emitWithAck(event, ...payload), () => `ack of ${event}`)

/** A deed that the server accepts, done on every node when this returns. */
export async function done(client, event, payload = {}) {
  const ack = await ask(client, event, { sessionId: client.session, ...payload })
  assert.equal(ack.ok, true, `${event}: ${JSON.stringify(ack)}`)
  await settle(client)
  return ack
}

/** A request that is refused: by acknowledgement, by an error to its sender, and with the connection kept. */
export async function refused(client, event, payload, code, what) {
  const ack = await ask(client, event, ...payload)
  assert.equal(ack.ok, false, what)
  assert.equal(ack.error?.code, code, `${what}: ${JSON.stringify(ack)}`)
  assert.deepEqual(Object.keys(ack.error).sort(), ['code', 'message'], what)
  assert.equal(typeof ack.error.message, 'string', what)
  assert.deepEqual(await next(client, 'error'), ack.error, what)
  assert.equal(client.connected, true, what)
}

/**
 * Everything `client` was told so far and did not take. A round trip after the deeds of others have been acknowledged
 * brings whatever they caused, so that silence can be seen without waiting for it.
 */
export async function heard(client) {
  await fence(client)
  const participantId = client.id_ ?? 'fence'
  await ask(client, 'leave-session', { sessionId: FENCE, participantId })
  await next(client, 'session-left', (payload) => payload.sessionId === FENCE)
  return client.told.splice(0)
}

/** Everything but `events`. */
export const heardBut = async (client, ...events) => (await heard(client)).filter(([event]) => !events.includes(event))

/** Lets `condition` become true, asking the server in between. */
export async function eventually(condition, what, patience = DEADLINE_MS) {
  const end = Date.now() + patience
  for (;;) {
    if (await condition()) return
    await setTimeout(20)
    if (Date.now() > end) throw new Error(`never: ${what}`)
  }
}

export const health = async (node = 0) => (await fetch(`${URLS[node]}/health`)).json()

/** How much is going on, as /health says it: on all nodes together. */
export async function counts() {
  const nodes = await Promise.all(URLS.map((_, node) => health(node)))
  const { activeSessions, activeParticipants } = URLS.length > 1 ? nodes[0].cluster : nodes[0]
  const relayPorts = nodes.reduce((sum, { relay }) => sum + relay.portsInUse, 0)
  return { sessions: activeSessions, participants: activeParticipants, relayPorts }
}

export function signal(client, type, to, data, more = {}) {
  return { type, sessionId: client.session, from: client.id_, to, data, timestamp: 1, ...more }
}

/** The next `event`. Not node's `once`, which takes an event named error for a failure. */
export const occurs = (client, event) => new Promise((resolve) => client.once(event, (...args) => resolve(args)))

export function within(promise, what, patience = DEADLINE_MS) {
  let timer
  const late = new Promise((_, reject) => {
    timer = globalThis.setTimeout(() => reject(new Error(`too late: ${what()}`)), patience)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

// Between nodes everything travels in one order, so that a message of the parser monitor shows how far it has come.
const FENCE = 'fence'
const FENCE_EVENTS = ['test-response', 'parser-monitor-subscribed']

let heralds
/** A client on each node that sends and hears the messages of fences. */
const heraldsOfAll = () => (heralds ??= Promise.all(URLS.map(async (_, node) => subscribed(await connect({ node })))))

// Each time: a client that has been away may have lost its subscription.
async function subscribed(client) {
  client.fenced = true
  await ask(client, 'subscribe-parser-monitor')
  return client
}

/** Waits until every node knows what `client` has done. */
export async function settle(client) {
  if (URLS.length < 2) return
  await mark([client], await heraldsOfAll())
}

/** Waits until `client` knows what was done on any node. */
async function fence(client) {
  if (URLS.length < 2) return
  await mark(await heraldsOfAll(), [await subscribed(client)])
}

async function mark(senders, hearers) {
  const marker = unique(FENCE)
  const arrived = hearers.flatMap((hearer) => senders.map((_, i) => hears(hearer, `${marker}.`, i)))
  await Promise.all(senders.map((sender, i) => ask(sender, 'test-message', { message: `${marker}.${i}.` })))
  await within(Promise.all(arrived), () => 'what the other nodes said')
}

function hears(client, marker, i) {
  return new Promise((resolve) => {
    const listen = (event, payload) => {
      if (event !== 'test-response' || !JSON.stringify(payload).includes(`${marker}${i}.`)) return
      client.offAny(listen)
      resolve()
    }
    client.onAny(listen)
  })
}
