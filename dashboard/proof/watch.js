// The witness of this tab: it looks at the ledger's checkpoint at each visit and then again and
// again, and demands that it continues the last one that this browser has seen.
import { ApiError, text } from "../core/api.js"
import { canCheck } from "./bytes.js"
import { lastSeen, memory, pinned, raise } from "./pin.js"
import { Witness, isAlarm } from "./witness.js"

const interval = 30_000

/** The routes of the ledger that a witness needs. */
const log = {
  async checkpoint() {
    try {
      return await text("/v1/audit/checkpoint")
    } catch (error) {
      if (error instanceof ApiError && error.code === "not_sealed") return null
      throw error
    }
  },
  consistency: size => text("/v1/audit/consistency", { from: size }),
}

class Watch {
  /**
   * What is known: `{kind, …}` with the kind `unknown` before the first look, `unable` (no
   * WebCrypto), `unpinned`, `empty` (nothing is sealed yet), `good` (`size`, `before`, `at`), `wrong`
   * (`message`) or `unchecked` (`message`: the service could not be asked).
   */
  state = { kind: "unknown" }
  #witness = null
  #timer = null
  #looking = null

  /** Begins to look; safe to call again. */
  start() {
    if (this.#timer) return
    this.#timer = setInterval(() => this.look(), interval)
    window.addEventListener("storage", event => event.key?.startsWith("proof.") && this.look())
    window.addEventListener("witness", () => this.#keyChanged())
    this.look()
  }

  /** Looks now, or joins the look that is under way. Never throws. */
  look() {
    this.#looking ??= this.#once().finally(() => (this.#looking = null))
    return this.#looking
  }

  /** The witness for the pinned key; null if none is pinned. */
  async witness() {
    const pin = canCheck() ? await pinned() : null
    if (!pin) this.#witness = null
    else if (this.#witness?.key.text !== pin.key.text) this.#witness = new Witness(pin.key, memory(pin.key.name), log)
    return this.#witness
  }

  async #keyChanged() {
    const before = this.#witness?.key.text
    if ((await this.witness())?.key.text !== before) this.look()
  }

  async #once() {
    if (!canCheck()) return this.#set({ kind: "unable" })
    const witness = await this.witness()
    if (!witness) return this.#set({ kind: "unpinned" })
    const kept = lastSeen(witness.key.name)?.checkpoint ?? witness.seen?.text ?? null
    try {
      // Tabs of one browser share the memory, so they take turns.
      const look = () => witness.look()
      const { before, now } = await (navigator.locks ? navigator.locks.request("proof.look", look) : look())
      const at = new Date().toISOString()
      this.#set(now ? { kind: "good", size: now.size, before: before?.size ?? null, at } : { kind: "empty", at })
    } catch (error) {
      this.fail(error, kept)
    }
  }

  /** Notes an error of a look or of a check; an alarm stays until somebody has looked at it. */
  fail(error, kept = null) {
    const at = new Date().toISOString()
    if (!isAlarm(error)) return this.#set({ kind: "unchecked", message: error.detail ?? error.message, at })
    const seen = kept ?? (this.#witness && lastSeen(this.#witness.key.name)?.checkpoint) ?? null
    raise({ message: error.message, at, kept: seen, shown: error.shown ?? null })
    this.#set({ kind: "wrong", message: error.message, at })
  }

  #set(state) {
    this.state = state
    window.dispatchEvent(new Event("witness"))
  }
}

export const watch = new Watch()
