// Merkle trees of RFC 6962, section 2.1: SHA-256, a leaf is hashed after the byte 0, a node after 1.
// Sizes and indexes are BigInts, because a log may be longer than 2⁵³.
import { equal, join, sha256 } from "./bytes.js"

const leafPrefix = Uint8Array.of(0)
const nodePrefix = Uint8Array.of(1)

export function leafHash(entry) {
  return sha256(join(leafPrefix, entry))
}

export function nodeHash(left, right) {
  return sha256(join(nodePrefix, left, right))
}

/** The root of the tree without leaves. */
export function emptyRoot() {
  return sha256(new Uint8Array(0))
}

/**
 * The root of the tree of `size` leaves that has `leaf` at `index`, according to a proof of
 * inclusion. RFC 9162, section 2.1.3.2.
 *
 * Returns null where the proof has too many or too few hashes.
 */
export async function inclusionRoot(leaf, index, size, hashes, node = nodeHash) {
  if (index < 0n || index >= size) return null
  let [place, last, root] = [index, size - 1n, leaf]
  for (const hash of hashes) {
    if (last === 0n) return null
    if ((place & 1n) === 1n || place === last) {
      root = await node(hash, root)
      while ((place & 1n) === 0n && place !== 0n) [place, last] = [place >> 1n, last >> 1n]
    } else {
      root = await node(root, hash)
    }
    ;[place, last] = [place >> 1n, last >> 1n]
  }
  return last === 0n ? root : null
}

/**
 * Whether a proof shows that the tree of `oldSize` leaves with the root `oldRoot` is the beginning
 * of the other tree. RFC 9162, section 2.1.4.2.
 */
export async function isConsistent(oldSize, oldRoot, newSize, newRoot, hashes) {
  if (oldSize < 0n || oldSize > newSize) return false
  if (oldSize === 0n) return hashes.length === 0 && equal(oldRoot, await emptyRoot())
  if (oldSize === newSize) return hashes.length === 0 && equal(oldRoot, newRoot)
  const path = [...hashes]
  // A perfect old tree is a node of the new one. The proof leaves out its hash.
  if ((oldSize & (oldSize - 1n)) === 0n) path.unshift(oldRoot)
  if (path.length === 0) return false
  let [place, last] = [oldSize - 1n, newSize - 1n]
  while ((place & 1n) === 1n) [place, last] = [place >> 1n, last >> 1n]
  let oldHash = path[0]
  let newHash = path[0]
  for (const hash of path.slice(1)) {
    if (last === 0n) return false
    if ((place & 1n) === 1n || place === last) {
      oldHash = await nodeHash(hash, oldHash)
      newHash = await nodeHash(hash, newHash)
      while ((place & 1n) === 0n && place !== 0n) [place, last] = [place >> 1n, last >> 1n]
    } else {
      newHash = await nodeHash(newHash, hash)
    }
    ;[place, last] = [place >> 1n, last >> 1n]
  }
  return last === 0n && equal(oldHash, oldRoot) && equal(newHash, newRoot)
}

/**
 * `nodeHash` that remembers what it has computed. The proofs of one job share most of their path,
 * and each call of WebCrypto costs some ten microseconds.
 */
export function rememberingNodeHash() {
  const known = new Map()
  return async (left, right) => {
    const key = String.fromCharCode(...left, ...right)
    let hash = known.get(key)
    if (!hash) {
      hash = await nodeHash(left, right)
      // Room for the paths of the longest job that is proved at once.
      if (known.size < 100_000) known.set(key, hash)
    }
    return hash
  }
}
