// JSON Web Tokens, made here so that they can also be made wrong.

import { createHmac } from 'node:crypto'

export const SECRET = process.env.SETU_JWT_SECRET
const part = (value) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')

/** A token with these claims, good for an hour unless they say otherwise. */
export function token(claims, { secret = SECRET, header = { alg: 'HS256', typ: 'JWT' }, hash = 'sha256' } = {}) {
  const exp = Math.floor(Date.now() / 1000) + 3600
  const signed = `${part(header)}.${part({ exp, ...claims })}`
  return `${signed}.${createHmac(hash, secret).update(signed).digest('base64url')}`
}
