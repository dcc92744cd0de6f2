// A witness remembers the last checkpoint that it has seen of a log, and accepts a later one only
// with the proof that it continues that one. So nobody, not even the owner of the key, can change or
// remove events that this witness has seen without being found out.
import { Malformed } from "./bytes.js"
import { Checkpoint, CheckpointUpdate, NotSigned } from "./tlog.js"

/** The log does not continue the history that the witness has seen. */
export class HistoryRewritten extends Error {
  name = "HistoryRewritten"

  /** `shown` is the text of the checkpoint that does not fit, where there is one. */
  constructor(message, shown = null) {
    super(message)
    this.shown = shown
  }
}

/** Whether an error of a witness says that something is wrong, and not that nothing was checked. */
export function isAlarm(error) {
  return error instanceof HistoryRewritten || error instanceof NotSigned || error instanceof Malformed
}

const attempts = 3

export class Witness {
  /**
   * - `key`: the pinned key, which must have signed.
   * - `memory`: `load()` → the text of the last checkpoint or null; `save(text)`. Outside the
   *   ledger: whoever can rewrite the log must not be able to rewrite this.
   * - `log`: `checkpoint()` → text, or null while nothing is sealed; `consistency(size)` → text.
   * - `pause`: milliseconds before it asks again a service that is behind what it has shown.
   */
  constructor(key, memory, log, { pause = 700 } = {}) {
    Object.assign(this, { key, memory, log, pause })
    /** The last checkpoint that this witness has accepted. The memory may lose it. */
    this.seen = null
  }

  /**
   * Asks the log for its last checkpoint, checks that it continues those remembered, and remembers
   * it. Returns `{before, now}`; `now` is null while nothing is sealed, `before` at the first look.
   *
   * Throws `HistoryRewritten`, `NotSigned`, `Malformed`, and what memory and log throw. The witness
   * then keeps the checkpoint it had.
   */
  async look() {
    const kept = await this.#kept()
    const remembered = [kept, this.seen].filter(Boolean)
    if (remembered.length === 2 && kept.isSameAs(this.seen)) remembered.pop()
    const before = remembered.reduce((a, b) => (!a || b.size > a.size ? b : a), null)
    const text = await this.log.checkpoint()
    if (text === null) {
      if (before) {
        throw new HistoryRewritten(
          `Nothing is sealed now, but ${before.size} events of “${before.origin}” were sealed before.`,
        )
      }
      return { before, now: null }
    }
    let now = await Checkpoint.parse(text)
    for (const old of remembered) now = await this.#continuing(now, old)
    await now.verify(this.key)
    if (now.size > (kept?.size ?? -1n)) await this.memory.save(now.text)
    this.seen = now
    return { before, now }
  }

  /**
   * Checks that a checkpoint, such as that of a proof, is of the history that this witness sees.
   * Without it the ledger could show one history here and another there.
   */
  async accepts(checkpoint) {
    await checkpoint.verify(this.key)
    const { now } = await this.look()
    if (!now)
      throw new HistoryRewritten(
        "A proof has a checkpoint, but the ledger says that nothing is sealed.",
        checkpoint.text,
      )
    await this.#continuing(now, checkpoint)
  }

  async #kept() {
    const text = await this.memory.load()
    if (text === null) return null
    const kept = await Checkpoint.parse(text)
    // One that the key has not signed is not from us, so it says nothing about the log. One of
    // another log gets its own error below.
    if (kept.origin === this.key.name) await kept.verify(this.key)
    return kept
  }

  /** The last checkpoint of the log, after the check that it continues an older one. */
  async #continuing(shown, old) {
    if (shown.origin !== old.origin) {
      throw new HistoryRewritten(
        `This is the log “${shown.origin}”, but “${old.origin}” was seen before: ` +
          "another ledger, or another epoch.",
        shown.text,
      )
    }
    if (shown.size < old.size) {
      throw new HistoryRewritten(
        `${shown.size} events are sealed, but ${old.size} were before: ` +
          "the end was cut off, or this is an older backup.",
        shown.text,
      )
    }
    if (shown.size === old.size) return this.#sameOr(shown, old)
    const { checkpoint } = await this.#update(shown, old)
    // Two checkpoints of one size with different roots are two histories, whatever else is shown.
    return checkpoint.size === shown.size ? this.#sameOr(checkpoint, shown) : checkpoint
  }

  /** A proof from the older checkpoint to one that is at least as long as what the log has shown. */
  async #update(shown, old) {
    for (let attempt = 1; ; attempt++) {
      const update = await CheckpointUpdate.parse(await this.log.consistency(old.size))
      const { checkpoint } = update
      if (!(await update.continues(old)) || checkpoint.origin !== old.origin) throw otherRoot(old, checkpoint.text)
      if (checkpoint.size >= shown.size) return update
      // One of several services may be behind the other for a moment.
      if (attempt === attempts) {
        throw new HistoryRewritten(
          `The ledger showed a signed checkpoint of ${shown.size} events, but proves only one of ${checkpoint.size}.`,
          shown.text,
        )
      }
      await new Promise(resume => setTimeout(resume, this.pause))
    }
  }

  #sameOr(checkpoint, old) {
    if (!checkpoint.isSameAs(old)) throw otherRoot(old, checkpoint.text)
    return checkpoint
  }
}

function otherRoot(old, shown) {
  return new HistoryRewritten(
    `The first ${old.size} events are not those seen before: the history of “${old.origin}” was rewritten.`,
    shown,
  )
}
