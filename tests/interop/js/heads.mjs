// Follows the announced heads of a federation: `node heads.mjs ADDRESS FEDERATION SIZE`. From docs/spec alone.
// Ends with the first head of at least SIZE records, after its signature was checked.
import { createHash, createPublicKey, verify } from 'node:crypto'
import { gossipsub } from '@libp2p/gossipsub'
import * as dagCbor from '@ipld/dag-cbor'
import { multiaddr } from '@multiformats/multiaddr'
import { CID } from 'multiformats/cid'
import { start } from './peer.mjs'

const [address, federation, size] = process.argv.slice(2)
const peer = await start({ pubsub: gossipsub({ globalSignaturePolicy: 'StrictSign', allowPublishToZeroTopicPeers: true }) })
try {
  const topic = `/tslg/heads/1/${federation}`
  const found = new Promise((resolve) => {
    peer.services.pubsub.addEventListener('message', ({ detail }) => {
      if (detail.topic !== topic) return
      const { head } = dagCbor.decode(detail.data)
      if (head === undefined) return
      const told = read(head)
      if (told.size >= Number(size)) resolve({ ...told, from: detail.from.toString() })
    })
  })
  peer.services.pubsub.subscribe(topic)
  await peer.dial(multiaddr(address))
  const timeout = new Promise((resolve, reject) => setTimeout(() => reject(new Error('no head in 60 s')), 60_000).unref())
  console.log(JSON.stringify(await Promise.race([found, timeout])))
} finally {
  await peer.stop()
}

// ANN-3, CHK-1 to CHK-4: the agent's genesis carries the key that signed the checkpoint, as long as it was not replaced.
function read (head) {
  const genesis = head.keys[0][0]
  const agent = CID.decode(Uint8Array.from([1, 0x71, 0x12, 32, ...createHash('sha256').update(genesis).digest()])).toString()
  const key = dagCbor.decode(genesis).body.key
  const note = Buffer.from(head.checkpoint)
  const split = note.lastIndexOf('\n\n')
  const text = note.subarray(0, split + 1)
  const [origin, records, root] = text.toString().split('\n')
  const own = note.subarray(split + 2).toString().trimEnd().split('\n').map((line) => line.split(' ')).find((line) => line[1] === origin)
  const signature = Buffer.from(own[2], 'base64')
  const id = createHash('sha256').update(Buffer.concat([Buffer.from(`${origin}\n\x01`), key])).digest().subarray(0, 4)
  const spki = Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), key])
  const signed = verify(null, text, createPublicKey({ key: spki, format: 'der', type: 'spki' }), signature.subarray(4))
  if (origin !== `tslg/${agent}` || !id.equals(signature.subarray(0, 4)) || !signed) throw new Error('a head that nobody signed')
  return { agent, size: Number(records), root: Buffer.from(root, 'base64').toString('hex') }
}
