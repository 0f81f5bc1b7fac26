// The real `setu` binary on free ports, in a temporary folder, awaited by its own readiness.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createSocket } from 'node:dgram';
import { existsSync, mkdtempSync, readFileSync, rmSync, watch, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { eventually } from './call.js';

const RELAY_PORTS = 41;
const START_DEADLINE_MS = 10_000;
const STOP_DEADLINE_MS = 5_000;

/**
 * Starts a server; `environment` adds to or overrides its settings, `files` lie in its folder, each under its name with
 * its text.
 */
export async function startSetu(environment = {}, { relayPorts = RELAY_PORTS, files = {} } = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'setu-browser-'));
  write(folder, files);
  const addressesFile = join(folder, 'addresses.json');
  const first = await freeRange(relayPorts);
  const child = spawn(binary(), ['serve', '--addresses-file', addressesFile], {
    cwd: folder,
    env: {
      PATH: process.env.PATH,
      SETU_HTTP__LISTEN: '127.0.0.1:0',
      SETU_TURN__LISTEN_UDP: '0.0.0.0:0',
      SETU_TURN__LISTEN_TCP: '0.0.0.0:0',
      SETU_TURN__LISTEN_TLS: '0.0.0.0:0',
      SETU_TURN__LISTEN_DTLS: '0.0.0.0:0',
      SETU_SHUTDOWN__DRAIN: '0s',
      SETU_TURN__RELAY_PORTS: `${first}-${first + relayPorts - 1}`,
      ...environment,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const output = [];
  child.stdout.on('data', (data) => output.push(data));
  child.stderr.on('data', (data) => output.push(data));
  try {
    await appears(addressesFile, folder, child);
  } catch (error) {
    child.kill('SIGKILL');
    throw new Error(`${error.message}\n${Buffer.concat(output)}`);
  }
  return new Setu(child, folder, JSON.parse(readFileSync(addressesFile, 'utf8')), output);
}

class Setu {
  #child;
  #folder;
  #output;

  /** `addresses` are the bound ones: http, udp, tcp and tls, each a list. */
  constructor(child, folder, addresses, output) {
    this.#child = child;
    this.#folder = folder;
    this.addresses = addresses;
    this.port = Number(addresses.http[0].split(':').at(-1));
    this.#output = output;
  }

  /** `localhost` is a secure context even over plain HTTP, so that a page may use the camera. */
  get origin() { return `http://localhost:${this.port}`; }

  /** What the server printed so far. */
  get output() { return Buffer.concat(this.#output).toString(); }

  /** Writes these files and has the configuration read again; answers what the log says of it. */
  async reload(files) {
    const before = this.output.length;
    write(this.#folder, files);
    this.#child.kill('SIGHUP');
    const told = () => this.output.slice(before).split('\n').find((line) => line.includes('applied='));
    return eventually(told, (line) => line !== undefined, START_DEADLINE_MS);
  }

  async health() {
    const response = await fetch(`http://127.0.0.1:${this.port}/health`);
    return response.json();
  }

  async stop() {
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGTERM');
    const late = setTimeout(() => this.#child.kill('SIGKILL'), STOP_DEADLINE_MS);
    await ended;
    clearTimeout(late);
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

function write(folder, files) {
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
}

function binary() {
  const path = process.env.SETU_BIN ?? resolve(import.meta.dirname, '../../../target/release/setu');
  if (!existsSync(path)) throw new Error(`${path} is missing: cargo build --release, or set SETU_BIN`);
  return resolve(path);
}

function appears(file, folder, child) {
  return new Promise((resolved, rejected) => {
    const watcher = watch(folder, () => existsSync(file) && settle(resolved));
    const exited = (code) => settle(rejected, new Error(`setu ended with ${code} before it was ready`));
    const late = setTimeout(() => settle(rejected, new Error('setu is not ready in time')), START_DEADLINE_MS);
    const settle = (how, value) => {
      watcher.close();
      clearTimeout(late);
      child.off('exit', exited);
      how(value);
    };
    child.once('exit', exited);
    if (existsSync(file)) settle(resolved);
  });
}

/** The first of `count` UDP ports in a row that nobody uses, below the ephemeral range. */
async function freeRange(count) {
  for (let attempt = 0; attempt < 20; attempt += 1) {
    const first = 20_000 + Math.floor(Math.random() * (12_000 - count));
    const ports = Array.from({ length: count }, (_, index) => first + index);
    const sockets = await Promise.allSettled(ports.map(bind));
    await Promise.all(sockets.map(({ value }) => value && new Promise((closed) => value.close(closed))));
    if (sockets.every(({ status }) => status === 'fulfilled')) return first;
  }
  throw new Error(`no ${count} free UDP ports in a row`);
}

async function bind(port) {
  const socket = createSocket('udp4');
  socket.bind(port);
  await once(socket, 'listening');
  return socket;
}
