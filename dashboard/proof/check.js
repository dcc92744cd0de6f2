// What a proof shows: one event, or all events of a job. Everything here is computed from the text
// of the proof and the pinned key; nothing is asked of the ledger.
import { Malformed, canCheck, equal, textOf } from "./bytes.js"
import { leafBytes, parseEvent } from "./event.js"
import { inclusionRoot, leafHash, rememberingNodeHash } from "./merkle.js"
import { LogProof, NotSigned } from "./tlog.js"

/** A proof that does not show what it should. */
export class NotProved extends Error {
  name = "NotProved"
}

/** Whether an error says that something is wrong with what the ledger showed. */
export function isFinding(error) {
  return error instanceof NotProved || error instanceof NotSigned || error instanceof Malformed
}

/**
 * Checks the proofs in a text: that the key has signed the checkpoint, and that its tree has exactly
 * these events at their positions.
 *
 * `progress(done, total)` is called now and then. Returns `{events, checkpoint}`; throws
 * `NotProved`, `NotSigned` or `Malformed`.
 */
export async function checkProofs(text, key, progress = () => {}) {
  if (!canCheck()) throw new Error("This browser has no WebCrypto on this page: use https, or a loopback address.")
  const proofs = await LogProof.list(text)
  const { checkpoint } = proofs[0]
  await checkpoint.verify(key)
  const node = rememberingNodeHash()
  const events = []
  for (const [index, proof] of proofs.entries()) {
    if (proof.checkpoint !== checkpoint) {
      throw new NotProved("The proofs have different checkpoints: they were not made at once.")
    }
    const event = parseEvent(textOf(proof.extra))
    if (event.position !== proof.index + 1n) {
      throw new NotProved(`The proof is for position ${proof.index + 1n}, but the event says ${event.position}.`)
    }
    const leaf = await leafHash(await leafBytes(event))
    const root = await inclusionRoot(leaf, proof.index, checkpoint.size, proof.hashes, node)
    if (!root || !equal(root, checkpoint.root)) {
      throw new NotProved(
        `No such event was sealed at position ${event.position}: the event, or the proof, was altered.`,
      )
    }
    events.push(event)
    if (index % 200 === 199) {
      progress(index + 1, proofs.length)
      // Lets the page breathe during a long check.
      await new Promise(resume => setTimeout(resume))
    }
  }
  return { events, checkpoint }
}

/**
 * Checks the proof of one event. `asked` names it by `{position}` or `{id}`: a sound proof of
 * another event would be no answer.
 */
export async function checkEvent(text, key, asked) {
  const { events, checkpoint } = await checkProofs(text, key)
  if (events.length !== 1) throw new NotProved(`There are proofs of ${events.length} events, where one was asked for.`)
  const [event] = events
  if (asked.position !== undefined && event.position !== BigInt(asked.position)) {
    throw new NotProved(`This is a proof of the event at position ${event.position}, not ${asked.position}.`)
  }
  if (asked.id !== undefined && event.event_id.toLowerCase() !== asked.id.toLowerCase()) {
    throw new NotProved(`This is a proof of the event ${event.event_id}, not ${asked.id}.`)
  }
  return { event, checkpoint }
}

/**
 * Checks the proofs of a job's events. Versions count from 1, and nothing follows an end: the
 * database refuses anything else. So proofs of the versions 1, 2, 3 … up to an end are the whole
 * life of the job. Without an end they are all events up to the last of them.
 */
export async function checkJob(text, key, job, progress) {
  const { events, checkpoint } = await checkProofs(text, key, progress)
  let position = 0n
  for (const [index, event] of events.entries()) {
    if (event.category !== "job" || event.stream_id !== job) {
      throw new NotProved(
        `Position ${event.position} is of the ${event.category} “${event.stream_id}”, not of this job.`,
      )
    }
    if (event.version !== BigInt(index + 1)) {
      throw new NotProved(`Version ${index + 1} is missing, and version ${event.version} is in its place.`)
    }
    if (event.position <= position) {
      throw new NotProved(`Version ${event.version} does not come after the version before it.`)
    }
    position = event.position
  }
  const isWhole = ["finished", "failed"].includes(events.at(-1).type)
  return { events, checkpoint, isWhole }
}

/**
 * How what a page has shown of an event differs from what was proved: a list of names, empty where
 * all agrees. `shown` has the members of the ledger's answers; those that are missing are not
 * compared.
 */
export function differences(event, shown) {
  const metadata = event.metadata === null ? {} : parsed(event.metadata)
  const proved = {
    position: String(event.position),
    event_id: event.event_id.toLowerCase(),
    category: event.category,
    job: event.category === "job" ? event.stream_id : null,
    stream: event.stream_id,
    version: String(event.version),
    type: event.type,
    data: event.data,
    actor: event.metadata === null ? undefined : typeof metadata.actor === "string" ? metadata.actor : null,
  }
  return Object.keys(shown).filter(name => {
    const [a, b] = [proved[name], shown[name]]
    if (a === undefined || b === undefined) return false
    return a === null || b === null ? a !== b : a !== String(b)
  })
}

function parsed(text) {
  try {
    return JSON.parse(text) ?? {}
  } catch {
    return {}
  }
}
