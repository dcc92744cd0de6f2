// A harness for tests that run wherever there is WebCrypto.
import { base64, fromBase64, textOf, utf8 } from "../../../dashboard/proof/bytes.js"

const tests = new Map()
export const test = (name, body) => tests.set(name, body)

export async function run(vectors) {
  const results = []
  for (const [name, body] of tests) {
    try {
      await body(vectors)
      results.push({ name, problem: null })
    } catch (error) {
      results.push({ name, problem: `${error.name}: ${error.message}` })
    }
  }
  return results
}

export function is(actual, expected, what = "") {
  const text = value => JSON.stringify(value, (_, v) => (typeof v === "bigint" ? `${v}n` : v))
  if (text(actual) !== text(expected)) throw new Error(`${what} is ${text(actual)}, not ${text(expected)}`)
}

export async function throws(type, body, what = "") {
  try {
    await body()
  } catch (error) {
    if (error instanceof type) return error
    throw new Error(`${what} threw ${error.name}: ${error.message}, not ${type.name}`)
  }
  throw new Error(`${what} was accepted`)
}

/** Replaces the event of a proof. */
export function withEvent(proof, change) {
  return proof.replace(/^extra (.*)$/m, (_, extra) => `extra ${base64(utf8(change(textOf(fromBase64(extra)))))}`)
}

/** Flips one bit of a text of base64. */
export function flipped(text, place) {
  const bytes = fromBase64(text)
  bytes[place] ^= 1
  return base64(bytes)
}
