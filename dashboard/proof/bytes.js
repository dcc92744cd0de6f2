// Bytes and their texts. Each text has one spelling: a reader that accepts two spellings of one
// value would let somebody alter a proof without changing what it says.

/** Why a text is not a key, a checkpoint, a proof or an event. */
export class Malformed extends Error {
  name = "Malformed"
}

const encoder = new TextEncoder()

/** The UTF-8 of a text. A lone surrogate has no UTF-8; TextEncoder would replace it in silence. */
export function utf8(text) {
  if (!text.isWellFormed()) throw new Malformed("a text has half a surrogate pair, which no text in UTF-8 can have")
  return encoder.encode(text)
}

/** The text of UTF-8 bytes, without replacing what is none. */
export function textOf(bytes) {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    throw new Malformed("bytes are not UTF-8")
  }
}

export function join(...parts) {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let place = 0
  for (const part of parts) {
    bytes.set(part, place)
    place += part.length
  }
  return bytes
}

export function equal(a, b) {
  return a.length === b.length && a.every((byte, index) => byte === b[index])
}

export function base64(bytes) {
  let text = ""
  // In pieces, because a call takes a limited number of arguments.
  for (let start = 0; start < bytes.length; start += 8192) {
    text += String.fromCharCode(...bytes.subarray(start, start + 8192))
  }
  return btoa(text)
}

/** The bytes of standard base64 with padding; null for any other spelling. */
export function fromBase64(text) {
  // atob would skip white space and accept missing padding.
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) return null
  const binary = atob(text)
  const bytes = Uint8Array.from(binary, letter => letter.charCodeAt(0))
  // The last letter has bits that count for nothing: only zeros are accepted there.
  return btoa(binary) === text ? bytes : null
}

export function hex(bytes) {
  return Array.from(bytes, byte => byte.toString(16).padStart(2, "0")).join("")
}

/** The bytes of hexadecimal digits in lower case; null for any other text. */
export function fromHex(text) {
  if (!/^([0-9a-f]{2})*$/.test(text)) return null
  return Uint8Array.from(text.match(/../g) ?? [], pair => parseInt(pair, 16))
}

/** The bytes of a number, big-endian, in two's complement. */
export function numberBytes(number, size) {
  const bytes = new Uint8Array(size)
  let rest = BigInt.asUintN(size * 8, BigInt(number))
  for (let index = size - 1; index >= 0; index--) {
    bytes[index] = Number(rest & 0xffn)
    rest >>= 8n
  }
  return bytes
}

/** The largest size of a tree, 2⁶² − 1, as in the ledger. */
export const largestSize = (1n << 62n) - 1n

/** A size or index in decimal digits, in its only spelling; null for any other text. */
export function decimal(text) {
  if (!/^(0|[1-9][0-9]{0,18})$/.test(text)) return null
  const number = BigInt(text)
  return number <= largestSize ? number : null
}

/** Whether this browser can check anything here: WebCrypto works in secure contexts only. */
export function canCheck() {
  return Boolean(globalThis.crypto?.subtle)
}

export async function sha256(bytes) {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes))
}
