// A js-libp2p peer over TCP, Noise and Yamux, and the frames of docs/spec/wire.md.
import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { identify } from '@libp2p/identify'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'

export function options (services = {}) {
  return {
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    services: { identify: identify(), ping: ping(), ...services }
  }
}

export async function start (services = {}) {
  return createLibp2p(options(services))
}

// WIR-1 to WIR-3: one request a stream, the writing side closed behind it; the reply is chunks of code, length, payload.
export async function * request (peer, address, protocol, payload) {
  const stream = await peer.dialProtocol(multiaddr(address), protocol)
  stream.send(Uint8Array.from([...varint(payload.length), ...payload]))
  await stream.close()
  let held = new Uint8Array(0)
  for await (const part of stream) {
    held = joined(held, part.subarray())
    for (let chunk = cut(held); chunk !== null; chunk = cut(held)) {
      held = held.subarray(chunk.size)
      if (chunk.code !== 0) throw new Error(`code ${chunk.code}: ${new TextDecoder().decode(chunk.payload)}`)
      yield chunk.payload
    }
  }
  if (held.length > 0) throw new Error('the reply ends inside a chunk')
}

function cut (bytes) {
  let length = 0
  for (let place = 1, shift = 0; place < bytes.length; place++, shift += 7) {
    length += (bytes[place] & 0x7f) * 2 ** shift
    if (bytes[place] < 0x80) {
      const size = place + 1 + length
      return bytes.length < size ? null : { code: bytes[0], payload: bytes.subarray(place + 1, size), size }
    }
  }
  return null
}

function varint (number) {
  const bytes = []
  for (; number >= 0x80; number = Math.floor(number / 0x80)) bytes.push((number % 0x80) | 0x80)
  return [...bytes, number]
}

function joined (left, right) {
  const both = new Uint8Array(left.length + right.length)
  both.set(left)
  both.set(right, left.length)
  return both
}
