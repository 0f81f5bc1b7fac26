// As much of a TURN client (RFC 8656) as it takes to see whether a credential opens an allocation.

import { createHash, createHmac, randomBytes } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'

const RELAYS = process.env.SETU_TURN.split(',').map((address) => address.split(':'))
const ALLOCATE = 0x0003
const ATTRIBUTE = { username: 0x0006, integrity: 0x0008, error: 0x0009, realm: 0x0014, nonce: 0x0015, transport: 0x0019 }
const UDP = Buffer.from([17, 0, 0, 0])

let turn = 0
/** Tries to allocate from a port of its own, at one relay after the other: 'allocated', or the error code. */
export async function allocate({ username, credential }) {
  const [host, port] = RELAYS[turn++ % RELAYS.length]
  const socket = createSocket('udp4')
  socket.connect(port, host)
  await once(socket, 'connect')
  try {
    const challenge = await exchange(socket, request([[ATTRIBUTE.transport, UDP]]))
    const realm = challenge.attributes.get(ATTRIBUTE.realm)
    const nonce = challenge.attributes.get(ATTRIBUTE.nonce)
    const key = createHash('md5').update(`${username}:${realm}:${credential}`).digest()
    const answer = await exchange(socket, request([
      [ATTRIBUTE.transport, UDP],
      [ATTRIBUTE.username, Buffer.from(username)],
      [ATTRIBUTE.realm, realm],
      [ATTRIBUTE.nonce, nonce],
    ], key))
    const error = answer.attributes.get(ATTRIBUTE.error)
    return error === undefined ? 'allocated' : error[2] * 100 + error[3]
  } finally {
    socket.close()
  }
}

async function exchange(socket, message) {
  const answer = once(socket, 'message')
  const again = setInterval(() => socket.send(message), 500)
  socket.send(message)
  const [bytes] = await answer
  clearInterval(again)
  return parse(bytes)
}

function request(attributes, key) {
  const body = Buffer.concat(attributes.map(([type, value]) => attribute(type, value)))
  const header = Buffer.alloc(20)
  header.writeUInt16BE(ALLOCATE, 0)
  header.writeUInt16BE(body.length + (key ? 24 : 0), 2)
  header.writeUInt32BE(0x2112a442, 4)
  randomBytes(12).copy(header, 8)
  const message = Buffer.concat([header, body])
  if (!key) return message
  const integrity = createHmac('sha1', key).update(message).digest()
  return Buffer.concat([message, attribute(ATTRIBUTE.integrity, integrity)])
}

function attribute(type, value) {
  const head = Buffer.alloc(4)
  head.writeUInt16BE(type, 0)
  head.writeUInt16BE(value.length, 2)
  return Buffer.concat([head, value, Buffer.alloc((4 - (value.length % 4)) % 4)])
}

function parse(bytes) {
  const attributes = new Map()
  for (let at = 20; at + 4 <= bytes.length;) {
    const length = bytes.readUInt16BE(at + 2)
    attributes.set(bytes.readUInt16BE(at), bytes.subarray(at + 4, at + 4 + length))
    at += 4 + length + ((4 - (length % 4)) % 4)
  }
  return { attributes }
}
