// Fetches one block by CID over Bitswap with Helia, an IPFS client that knows one peer: `node block.mjs ADDRESS CID`.
import { withBitswap } from '@helia/bitswap'
import { withLibp2pLight } from '@helia/libp2p'
import { multiaddr } from '@multiformats/multiaddr'
import { createHeliaLight } from 'helia'
import { CID } from 'multiformats/cid'
import { options } from './peer.mjs'

const [address, cid] = process.argv.slice(2)
// No bootstrap peers and no routing: it talks to the node at ADDRESS and to nobody else.
const helia = withBitswap(withLibp2pLight(createHeliaLight(), options()))
await helia.start()
try {
  await helia.libp2p.dial(multiaddr(address))
  const parts = []
  for await (const part of helia.blockstore.get(CID.parse(cid), { signal: AbortSignal.timeout(20_000) })) parts.push(part)
  console.log(JSON.stringify({ block: Buffer.concat(parts).toString('hex') }))
} finally {
  await helia.stop()
}
