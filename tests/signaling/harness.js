// Clients that remember what they were told, and ways to await it.

import { once } from 'node:events'
import { after } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { io } from 'socket.io-client'

export const URL = process.env.SETU_URL
export const TRANSPORTS = [['websocket'], ['polling'], ['polling', 'websocket']]

const DEADLINE_MS = 20_000
const clients = new Set()
// Even those whose transport a test has stopped: nothing may keep the process alive.
after(() => clients.forEach((client) => client.disconnect().io.engine.transport.ws?.terminate()))

let counter = 0
/** A name that no other test uses. */
export const unique = (prefix) => `${prefix}-${process.pid}-${counter++}`

/** A connected client whose `told` holds every [event, payload] in order. */
export async function connect(options = {}) {
  const client = io(URL, { transports: ['websocket'], forceNew: true, reconnection: false, ...options })
  clients.add(client)
  client.told = []
  client.onAny((event, payload) => client.told.push([event, payload]))
  await within(once(client, 'connect'), () => 'connect')
  return client
}

/** A client that has joined `session` as `id`; `joined` is its own copy of session-joined. */
export async function member(session, id, options = {}) {
  const client = await connect(options)
  client.id_ = id
  client.session = session
  const name = options.name === undefined ? {} : { participantName: options.name }
  client.emit('join-session', { sessionId: session, participantId: id, ...name })
  client.joined = await next(client, 'session-joined')
  return client
}

/** Takes the earliest untaken `event` that satisfies `wanted`, waiting for it if need be. */
export async function next(client, event, wanted = () => true) {
  const find = () => client.told.findIndex(([name, payload]) => name === event && wanted(payload))
  const found = new Promise((resolve) => {
    const take = () => {
      const at = find()
      if (at < 0) return false
      client.offAny(take)
      resolve(client.told.splice(at, 1)[0][1])
      return true
    }
    if (!take()) client.onAny(take)
  })
  return within(found, () => `${event} (told so far: ${JSON.stringify(client.told).slice(0, 2000)})`)
}

/** What `client` is asked to do and how the server acknowledges it. */
export const ask = (client, event, ...payload) =>
  within(client.timeout(DEADLINE_MS).emitWithAck(event, ...payload), () => `ack of ${event}`)

/**
 * Everything `client` was told so far and did not take. A round trip after the deeds of others have been acknowledged
 * brings whatever they caused, so that silence can be seen without waiting for it.
 */
export async function heard(client) {
  await ask(client, 'leave-session', { sessionId: 'fence', participantId: 'fence' })
  await next(client, 'session-left', (payload) => payload.sessionId === 'fence')
  return client.told.splice(0)
}

/** Lets `condition` become true, asking the server in between. */
export async function eventually(condition, what) {
  const end = Date.now() + DEADLINE_MS
  for (;;) {
    if (await condition()) return
    await setTimeout(20)
    if (Date.now() > end) throw new Error(`never: ${what}`)
  }
}

/** How much is going on, as /health says it. */
export async function counts() {
  const { activeSessions, activeParticipants, relay } = await (await fetch(`${URL}/health`)).json()
  return { sessions: activeSessions, participants: activeParticipants, relayPorts: relay.portsInUse }
}

export function signal(client, type, to, data, more = {}) {
  return { type, sessionId: client.session, from: client.id_, to, data, timestamp: 1, ...more }
}

function within(promise, what) {
  let timer
  const late = new Promise((_, reject) => {
    timer = globalThis.setTimeout(() => reject(new Error(`too late: ${what()}`)), DEADLINE_MS)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}
