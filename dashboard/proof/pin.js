// What this browser keeps: the verifier key that the person has pinned, the last checkpoint of each
// log, and an alarm until somebody has looked at it. It is kept for this address of the service, in
// localStorage: the service cannot read or change it except through this page's own code.
import { VerifierKey } from "./note.js"

const names = { key: "proof.key", alarm: "proof.alarm", checkpoint: origin => `proof.checkpoint ${origin}` }

function changed() {
  window.dispatchEvent(new Event("witness"))
}

function read(name) {
  try {
    return localStorage.getItem(name)
  } catch {
    return null
  }
}

/** Throws where the browser keeps nothing: a pin that is forgotten would look like safety. */
function write(name, text) {
  if (text === null) localStorage.removeItem(name)
  else localStorage.setItem(name, text)
}

/** `{key, pinnedAt}` of the pinned key, or null. */
export async function pinned() {
  const text = read(names.key)
  if (text === null) return null
  try {
    const { key, pinned_at: pinnedAt } = JSON.parse(text)
    return { key: await VerifierKey.parse(key), pinnedAt }
  } catch {
    return null
  }
}

/** Pins a key; throws `Malformed` if it is none. */
export async function pin(text) {
  const key = await VerifierKey.parse(text)
  write(names.key, JSON.stringify({ key: key.text, pinned_at: new Date().toISOString() }))
  changed()
  return key
}

/** Forgets the pinned key. The checkpoints stay, for when the same key is pinned again. */
export function unpin() {
  write(names.key, null)
  changed()
}

/** The memory of a witness for the log of this name. */
export function memory(origin) {
  const name = names.checkpoint(origin)
  return {
    load: () => {
      const text = read(name)
      return text === null ? null : JSON.parse(text).checkpoint
    },
    save: checkpoint => write(name, JSON.stringify({ checkpoint, seen_at: new Date().toISOString() })),
  }
}

/** `{checkpoint, seenAt}` of the last checkpoint that was accepted, or null. */
export function lastSeen(origin) {
  const text = read(names.checkpoint(origin))
  if (text === null) return null
  const { checkpoint, seen_at: seenAt } = JSON.parse(text)
  return { checkpoint, seenAt }
}

/** Forgets the last checkpoint of a log, so that the next one is taken as it is. */
export function forget(origin) {
  write(names.checkpoint(origin), null)
  changed()
}

/** The alarm that nobody has looked at yet: `{message, at, kept, shown}`, or null. */
export function alarm() {
  const text = read(names.alarm)
  return text === null ? null : JSON.parse(text)
}

/** Keeps the first alarm: what comes later may be its consequence. */
export function raise(one) {
  if (alarm() === null) write(names.alarm, JSON.stringify(one))
  changed()
}

export function dismiss() {
  write(names.alarm, null)
  changed()
}
