// Real servers that a test starts, stops and kills: Redis, a Redis Cluster, and Setu. None outlives the process.

import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'
import { promisify } from 'node:util'
import { eventually } from './harness.js'

const children = new Set()
const folders = new Set()
// A test that fails does not come to stop them.
after(() => Promise.all([...children].map((child) => kill(child, 'SIGKILL'))))
process.on('exit', () => {
  folders.forEach((folder) => rmSync(folder, { recursive: true, force: true }))
})

/** A Redis on a port that it keeps when it is started again. `options` are lines of its configuration. */
export async function startRedis(...options) {
  const redis = new Redis(await freePort(), options)
  await redis.start()
  return redis
}

class Redis {
  #folder = folder()
  #options
  #child

  constructor(port, options) {
    this.port = port
    this.#options = options
  }

  get url() { return `redis://127.0.0.1:${this.port}` }

  async start() {
    const options = ['port', this.port, 'bind', '127.0.0.1', 'save', '', ...this.#options]
    const args = options.map((word, i) => (i % 2 ? String(word) : `--${word}`))
    this.#child = run('redis-server', args, { cwd: this.#folder, stdio: 'ignore' })
    await eventually(async () => {
      if (this.#child.exitCode !== null) throw new Error('redis-server does not run: apt-get install -y redis-server')
      return (await this.command('PING').catch(() => '')) === 'PONG'
    }, 'redis-server answers')
  }

  /** As a machine that loses its power. */
  kill() { return kill(this.#child, 'SIGKILL') }

  /** As a redis-cli would print it: text, or one line for each of a list. Follows a Cluster to the right node. */
  async command(...words) {
    const args = ['-c', '-p', this.port, ...words].map(String)
    const { stdout } = await promisify(execFile)('redis-cli', args)
    return stdout.replace(/\n$/, '')
  }

  /** The JSON at a key, or undefined. */
  async json(key) {
    const text = await this.command('GET', key)
    return text === '' ? undefined : JSON.parse(text)
  }

  async ttl(key) { return Number(await this.command('TTL', key)) }

  async exists(key) { return (await this.command('EXISTS', key)) === '1' }
}

/** Three masters, each with a replica. */
export async function startRedisCluster() {
  const options = ['cluster-enabled', 'yes', 'cluster-node-timeout', '1000']
  const nodes = []
  while (nodes.length < 6) nodes.push(await startRedis(...options, 'cluster-port', await freePort()))
  const addresses = nodes.map(({ port }) => `127.0.0.1:${port}`)
  await promisify(execFile)('redis-cli', [
    '--cluster', 'create', ...addresses, '--cluster-replicas', '1', '--cluster-yes',
  ])
  const count = async (words, wanted) => {
    const answers = await Promise.all(nodes.map((node) => node.command(...words)))
    return answers.filter((answer) => answer.includes(wanted)).length
  }
  const whole = async () => (await count(['CLUSTER', 'INFO'], 'cluster_state:ok')) === nodes.length
  await eventually(whole, 'all agree that the Cluster is whole')
  // One that has never followed its master will not take its place.
  const followed = async () => (await count(['INFO', 'replication'], 'master_link_status:up')) === nodes.length / 2
  await eventually(followed, 'every replica follows its master')
  return { nodes, url: `redis-cluster://${addresses.join(',')}` }
}

let relays = 0
/** The binary under test on free ports, with these variables on top. */
export async function startSetu(variables = {}) {
  const setu = new Setu(variables)
  await setu.start()
  return setu
}

class Setu {
  #folder = folder()
  #variables
  #child
  #output = []

  constructor(variables) {
    const first = 46_300 + 50 * (relays++ % 20)
    this.#variables = {
      SETU_HTTP__LISTEN: '127.0.0.1:0',
      SETU_TURN__LISTEN_UDP: '127.0.0.1:0',
      SETU_TURN__LISTEN_TCP: '127.0.0.1:0',
      SETU_TURN__LISTEN_TLS: '127.0.0.1:0',
      SETU_TURN__LISTEN_DTLS: '127.0.0.1:0',
      SETU_TURN__EXTERNAL_IP: '127.0.0.1',
      SETU_TURN__RELAY_PORTS: `${first}-${first + 40}`,
      SETU_SIGNALING__EVENTS_PER_SECOND: '0',
      SETU_SHUTDOWN__DRAIN: '0s',
      ...variables,
    }
  }

  async start() {
    const file = join(this.#folder, 'addresses.json')
    rmSync(file, { force: true })
    const env = { PATH: process.env.PATH, ...this.#variables }
    const args = ['serve', '--addresses-file', file]
    this.#child = run(process.env.SETU_BIN, args, { cwd: this.#folder, env })
    for (const stream of [this.#child.stdout, this.#child.stderr]) stream.on('data', (data) => this.#output.push(data))
    await eventually(() => {
      if (this.#child.exitCode !== null) throw new Error(`setu ended early: ${this.output}`)
      return existsSync(file)
    }, 'setu is ready')
    const [address] = JSON.parse(readFileSync(file, 'utf8')).http
    this.port = Number(address.split(':').at(-1))
  }

  get url() { return `http://127.0.0.1:${this.port}` }
  get output() { return Buffer.concat(this.#output).toString() }

  async health() {
    const response = await fetch(`${this.url}/health`)
    return { httpStatus: response.status, ...(await response.json()) }
  }

  stop() { return kill(this.#child, 'SIGTERM') }
  kill() { return kill(this.#child, 'SIGKILL') }
  /** It does nothing until it is woken. */
  freeze() { this.#child.kill('SIGSTOP') }
  wake() { this.#child.kill('SIGCONT') }
}

function run(program, args, options) {
  // Even if this process is killed.
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', program, ...args], options)
  children.add(child)
  child.on('exit', () => children.delete(child))
  return child
}

async function kill(child, signal) {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = once(child, 'exit')
  child.kill(signal)
  await gone
}

function folder() {
  const path = mkdtempSync(join(tmpdir(), 'setu-signaling-'))
  folders.add(path)
  return path
}

const given = new Set()
async function freePort() {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  await once(server, 'close')
  if (given.has(port)) return freePort()
  given.add(port)
  return port
}
