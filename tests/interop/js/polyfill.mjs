// What Node 20 lacks and js-libp2p uses, or the HTTP client that comes along with it takes hold of when it is loaded.
import workers from 'node:worker_threads'
import zlib from 'node:zlib'

Promise.withResolvers ??= function () {
  let resolve, reject
  const promise = new Promise((yes, no) => { resolve = yes; reject = no })
  return { promise, resolve, reject }
}
workers.markAsUncloneable ??= () => {}
zlib.createZstdDecompress ??= () => { throw new Error('zstd is not supported by this version of Node') }
