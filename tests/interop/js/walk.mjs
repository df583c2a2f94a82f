// Dials a node, pings it, and walks an ancestry by /tslg/walk/1: `node walk.mjs ADDRESS ID`. From docs/spec alone.
import { createHash } from 'node:crypto'
import * as dagCbor from '@ipld/dag-cbor'
import { CID } from 'multiformats/cid'
import { multiaddr } from '@multiformats/multiaddr'
import { request, start } from './peer.mjs'

const [address, target] = process.argv.slice(2)
const peer = await start()
try {
  const milliseconds = await peer.services.ping.ping(multiaddr(address))
  const payload = dagCbor.encode({ roots: [CID.parse(target)], classes: null, edges: null, have: [] })
  const records = new Map()
  let end = null
  for await (const chunk of request(peer, address, '/tslg/walk/1', payload)) {
    const part = dagCbor.decode(chunk)
    if (part.end !== undefined) {
      end = part.end
      continue
    }
    for (const [data] of part.records) {
      // CID-1: version 1, DAG-CBOR (0x71), SHA-256 (0x12) with 32 bytes.
      const digest = createHash('sha256').update(data).digest()
      const id = CID.decode(Uint8Array.from([1, 0x71, 0x12, 32, ...digest]))
      records.set(id.toString(), dagCbor.decode(data))
    }
  }
  const { reached, missing } = walk(target, records)
  const owners = new Set([...reached].map((id) => (records.get(id).agent ?? id).toString()))
  console.log(JSON.stringify({
    pinged: milliseconds >= 0,
    records: records.size,
    reached: [...reached].sort(),
    missing,
    owners: [...owners].sort(),
    told: end.missing.map((one) => one.record.toString()),
    heads: Object.fromEntries(end.heads.map((one) => [one.agent.toString(), one.size]))
  }))
} finally {
  await peer.stop()
}

// VER-3: breadth first from the target over every edge; `prev` is no edge.
function walk (root, records) {
  const reached = new Set()
  const missing = []
  let level = [root]
  while (level.length > 0) {
    const next = []
    for (const id of level) {
      if (reached.has(id) || missing.includes(id)) continue
      const record = records.get(id)
      if (record === undefined) {
        missing.push(id)
        continue
      }
      reached.add(id)
      for (const edges of Object.values(record.preds)) next.push(...edges.map((edge) => edge.cid.toString()))
    }
    level = next
  }
  return { reached, missing }
}
