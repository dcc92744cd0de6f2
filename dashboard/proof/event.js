// An event as a leaf of the ledger's Merkle tree: the canonical bytes of docs/audit.md, made from
// the JSON that a proof carries.
import { Malformed, fromHex, join, largestSize, numberBytes, sha256, utf8 } from "./bytes.js"
import { microseconds } from "./time.js"

/** The first line of every leaf. Another encoding will have another line. */
const versionLine = utf8("jobledger/event/v1\n")
const isNull = numberBytes(0xffffffff, 4)

const texts = ["event_id", "category", "stream_id", "type", "recorded_at"]
const optionalTexts = ["occurred_at", "data", "metadata", "data_sha256", "metadata_sha256"]
const int32 = [-(2n ** 31n), 2n ** 31n - 1n]
const numbers = { position: [1n, largestSize], version: [1n, int32[1]], total: int32 }
const optionalNumbers = { completed: int32 }
const known = new Set([...texts, ...optionalTexts, ...Object.keys(numbers), ...Object.keys(optionalNumbers)])

/**
 * Reads the event that a proof carries. Numbers become BigInts; what is missing is null.
 *
 * Refuses JSON that readers may understand in different ways, and JSON that says more than the seal
 * covers: a member twice, or one that no event has.
 */
export function parseEvent(json) {
  const members = scalarMembers(json)
  const event = {}
  for (const name of texts) event[name] = text(name, members.get(name))
  for (const name of optionalTexts) event[name] = members.get(name) == null ? null : text(name, members.get(name))
  for (const name in numbers) event[name] = number(name, members.get(name), numbers[name])
  for (const name in optionalNumbers) {
    event[name] = members.get(name) == null ? null : number(name, members.get(name), optionalNumbers[name])
  }
  return event
}

function text(name, value) {
  if (typeof value !== "string") throw new Malformed(`the event has no text “${name}”`)
  return value
}

function number(name, value, [least, most]) {
  if (typeof value !== "bigint" || value < least || value > most) {
    throw new Malformed(`the event's “${name}” is not a whole number in its range`)
  }
  return value
}

/** The canonical bytes of an event. */
export async function leafBytes(event) {
  const time = text => {
    const value = microseconds(text)
    if (value === null) throw new Malformed(`the event has an invalid time: ${text}`)
    return numberBytes(value, 8)
  }
  return join(
    versionLine,
    field(uuid(event.event_id)),
    field(utf8(event.category)),
    field(utf8(event.stream_id)),
    field(numberBytes(event.version, 4)),
    field(utf8(event.type)),
    field(await contentHash("data", event)),
    field(await contentHash("metadata", event)),
    event.occurred_at === null ? isNull : field(time(event.occurred_at)),
    field(time(event.recorded_at)),
    field(numberBytes(event.total, 4)),
    event.completed === null ? isNull : field(numberBytes(event.completed, 4)),
  )
}

function field(bytes) {
  return join(numberBytes(bytes.length, 4), bytes)
}

function uuid(text) {
  if (!/^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$/.test(text)) {
    throw new Malformed("the event id is not a UUID")
  }
  return fromHex(text.replaceAll("-", "").toLowerCase())
}

async function contentHash(name, event) {
  const [content, digits] = [event[name], event[name + "_sha256"]]
  if ((content === null) === (digits === null)) throw new Malformed(`an event has either ${name} or ${name}_sha256`)
  if (content !== null) return sha256(utf8(content))
  const hash = fromHex(digits)
  if (hash?.length !== 32) throw new Malformed(`${name}_sha256 is not a SHA-256 in hexadecimal`)
  return hash
}

/**
 * The members of a JSON object whose values are strings, whole numbers (as BigInts) or null.
 * JSON.parse alone would take the last of two members of one name, and round large numbers.
 */
function scalarMembers(json) {
  const members = new Map()
  let place = 0
  const space = () => {
    while (" \t\n\r".includes(json[place] ?? "x")) place += 1
  }
  const expect = character => {
    space()
    if (json[place] !== character) throw new Malformed(`the event is not JSON: expected ${character} at ${place}`)
    place += 1
  }
  expect("{")
  space()
  if (json[place] !== "}") {
    while (true) {
      space()
      const name = string()
      if (!known.has(name)) throw new Malformed(`an event has no member “${name}”: the seal does not cover it`)
      if (members.has(name)) throw new Malformed(`the event has “${name}” twice`)
      expect(":")
      space()
      members.set(name, json[place] === '"' ? string() : word(name))
      space()
      if (json[place] !== ",") break
      place += 1
    }
  }
  expect("}")
  space()
  if (place !== json.length) throw new Malformed("the event is followed by more text")
  return members

  function string() {
    const start = place
    if (json[place] !== '"') throw new Malformed(`the event is not JSON: expected a text at ${place}`)
    // By hand, because a regular expression would need a deep stack for a text of megabytes.
    for (place += 1; place < json.length && json[place] !== '"'; place += 1) {
      if (json[place] === "\\") place += 1
    }
    place += 1
    try {
      return JSON.parse(json.slice(start, place))
    } catch {
      throw new Malformed("the event is not JSON: a broken text")
    }
  }

  function word(name) {
    const found = /^(?:null|-?(?:0|[1-9][0-9]{0,18}))(?=[\s,}])/.exec(json.slice(place, place + 21))
    if (!found) throw new Malformed(`the event's “${name}” is neither a text, a whole number nor null`)
    place += found[0].length
    return found[0] === "null" ? null : BigInt(found[0])
  }
}
