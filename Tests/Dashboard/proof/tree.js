// Trees and keys for tests, made in the plainest way, independent of what is tested.
import { base64, hex, join, sha256, utf8 } from "../../../dashboard/proof/bytes.js"

const hash = (prefix, ...parts) => sha256(join(Uint8Array.of(prefix), ...parts))

/** MTH of RFC 6962 over entries. */
export async function root(entries) {
  if (entries.length === 0) return sha256(new Uint8Array(0))
  if (entries.length === 1) return hash(0, entries[0])
  const k = split(entries.length)
  return hash(1, await root(entries.slice(0, k)), await root(entries.slice(k)))
}

/** PATH of RFC 6962, section 2.1.1. */
export async function path(m, entries) {
  if (entries.length <= 1) return []
  const k = split(entries.length)
  return m < k
    ? [...(await path(m, entries.slice(0, k))), await root(entries.slice(k))]
    : [...(await path(m - k, entries.slice(k))), await root(entries.slice(0, k))]
}

/** PROOF of RFC 6962, section 2.1.2. */
export function consistency(m, entries) {
  return m === 0 || m === entries.length ? [] : subproof(m, entries, true)
}

async function subproof(m, entries, isWhole) {
  if (m === entries.length) return isWhole ? [] : [await root(entries)]
  const k = split(entries.length)
  return m <= k
    ? [...(await subproof(m, entries.slice(0, k), isWhole)), await root(entries.slice(k))]
    : [...(await subproof(m - k, entries.slice(k), false)), await root(entries.slice(0, k))]
}

function split(n) {
  let k = 1
  while (2 * k < n) k *= 2
  return k
}

/** A key that signs as a log does. */
export class Signer {
  static async make(name) {
    const pair = await crypto.subtle.generateKey({ name: "Ed25519" }, true, ["sign", "verify"])
    const bytes = new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey))
    const id = (await sha256(join(utf8(name + "\n"), Uint8Array.of(1), bytes))).subarray(0, 4)
    return Object.assign(new Signer(), {
      name,
      id,
      secret: pair.privateKey,
      text: `${name}+${hex(id)}+${base64(join(Uint8Array.of(1), bytes))}`,
    })
  }

  async note(text) {
    const signature = new Uint8Array(await crypto.subtle.sign("Ed25519", this.secret, utf8(text)))
    return `${text}\n— ${this.name} ${base64(join(this.id, signature))}\n`
  }

  async checkpoint(entries, origin = this.name) {
    return this.note(`${origin}\n${entries.length}\n${base64(await root(entries))}\n`)
  }

  async update(from, entries) {
    const hashes = await consistency(from, entries)
    return `old ${from}\n${hashes.map(hash => base64(hash) + "\n").join("")}\n${await this.checkpoint(entries)}`
  }
}
