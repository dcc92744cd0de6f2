// The ledger's own feed: one EventSource a tab, on the whole log, while the page shows now. What it
// says reaches the views once a frame.

import { get } from "./api.js"
import { parse } from "./json.js"

const conflation = 1
const pollSeconds = 5
// A page that has this many events to catch up with reads its views anew instead.
const mostCaughtUp = 20_000
const hiddenSeconds = 20

/** What the views need of a CloudEvent. `job` is missing for streams of other categories. */
function event(source) {
  const ce = parse(source)
  const [, category, type] = /^io\.jobledger\.([^.]+)\.(.+)$/.exec(ce.type) ?? [null, "", ce.type]
  return {
    position: Number(ce.position),
    category,
    type,
    stream: ce.subject,
    job: category === "job" ? ce.subject : undefined,
    version: Number(ce.streamversion),
    data: ce.data,
    dataref: ce.dataref,
    total: ce.total,
    actor: ce.actor,
    recorded_at: ce.recordedtime,
    happened_at: ce.time,
    event_id: ce.id,
  }
}

class Live {
  /** connecting, live, behind, paused, away, or past (the page shows the past or nobody is signed in). */
  state = "past"
  /** The position of the last event that the views were given. */
  position = 0
  /** The last position of the log that is known. */
  head = 0
  /** By how many events the page is behind. */
  behind = 0
  /** Why the ledger is away, in words. */
  detail = ""

  #subscribers = new Set()
  #source = null
  #lastId = null
  #queue = []
  #frame = null
  #timer = null
  #retry = null
  #previousHead = 0
  #wanted = false
  #paused = false
  #asleep = false
  #run = 0

  constructor() {
    // A page that is left stays alive for "back", and would keep one of the browser's few connections.
    window.addEventListener("pagehide", () => this.#rest())
    window.addEventListener("pageshow", (event) => event.persisted && this.#wake())
    let sleep = null
    document.addEventListener("visibilitychange", () => {
      clearTimeout(sleep)
      if (document.hidden) {
        sleep = setTimeout(() => this.#rest(), hiddenSeconds * 1000)
      } else {
        this.#wake()
      }
    })
  }

  /**
   * Calls `fn(events, {reset})` with the new events, at most once a frame. `reset` says that events
   * are missing between the last call and this one, so that the view must be read anew.
   */
  subscribe(fn, { signal } = {}) {
    this.#subscribers.add(fn)
    const end = () => this.#subscribers.delete(fn)
    signal?.addEventListener("abort", end, { once: true })
    return end
  }

  /** Begins to follow, or goes on. Safe to call again. */
  start() {
    if (this.#wanted) return
    this.#wanted = true
    if (this.#paused) return this.#set("paused")
    this.#lastId = null
    this.#open()
  }

  /** Follows no longer, because the past is shown or nobody is signed in. */
  stop() {
    this.#wanted = false
    this.#close()
    this.#set("past")
  }

  get paused() {
    return this.#paused
  }

  pause() {
    this.#paused = true
    this.#close()
    if (this.#wanted) this.#set("paused")
    this.#poll()
  }

  resume() {
    this.#paused = false
    if (this.#wanted) this.#open()
  }

  /** Tries at once, where it would wait before the next attempt. */
  retry() {
    if (this.#wanted && !this.#paused) this.#open()
  }

  #set(state, detail = "") {
    if (this.state === state && this.detail === detail && state !== "paused" && state !== "behind") return
    this.state = state
    this.detail = detail
    window.dispatchEvent(new Event("live"))
  }

  #close() {
    this.#run += 1
    clearTimeout(this.#retry)
    clearTimeout(this.#timer)
    this.#source?.close()
    this.#source = null
  }

  #rest() {
    if (!this.#source) return
    this.#asleep = true
    this.#close()
  }

  #wake() {
    if (!this.#asleep) return
    this.#asleep = false
    if (this.#wanted && !this.#paused) this.#open()
  }

  async #open() {
    this.#close()
    const run = this.#run
    this.#set("connecting")
    try {
      const { value } = await get("/v1/moments", { points: 2 })
      if (run !== this.#run) return
      this.#join(value.head)
    } catch (error) {
      if (run === this.#run) this.#again(error)
    }
  }

  /** Opens the stream after the last event that the page has, unless that is too far back. */
  #join(head) {
    this.head = head
    this.#previousHead = 0
    const known = this.#lastId !== null && head >= this.position && head - this.position <= mostCaughtUp
    if (!known) {
      const first = this.#lastId === null && this.position === 0
      this.position = head
      this.#lastId = String(head)
      if (!first) this.#emit([], true)
    }
    const run = this.#run
    const place = encodeURIComponent(this.#lastId)
    const source = new EventSource(`/v1/events?conflate=${conflation}&last_event_id=${place}`)
    this.#source = source
    source.onopen = () => this.#set("live")
    source.onmessage = (message) => this.#receive(message)
    source.addEventListener("diverged", () => this.#diverge())
    source.onerror = () => {
      if (run !== this.#run) return
      // Chromium comes back by itself after a broken connection, but not after an answer such as 503.
      this.#again(null)
    }
    this.#poll()
  }

  #again(error) {
    this.#close()
    if (error?.status === 401) return
    this.#set("away", error?.detail ?? "The connection broke off.")
    this.#retry = setTimeout(() => this.#open(), 500 + 1500 * Math.random())
  }

  #diverge() {
    this.#lastId = null
    this.position = 0
    window.dispatchEvent(new Event("diverged"))
    this.#open()
    this.#emit([], true)
  }

  #receive(message) {
    this.#lastId = message.lastEventId
    this.#queue.push(message.data)
    if (this.#queue.length > mostCaughtUp) {
      this.#queue = []
      this.position = Number.parseInt(message.lastEventId, 10)
      return this.#emit([], true)
    }
    this.#schedule()
  }

  #schedule() {
    if (this.#frame !== null) return
    const flush = () => {
      this.#frame = null
      this.#flush()
    }
    // A hidden page has no frames.
    this.#frame = document.hidden ? setTimeout(flush, 1000) : requestAnimationFrame(flush)
  }

  #flush() {
    // One frame takes no more than a part of a second's events, so that catching up does not block it.
    const texts = this.#queue.splice(0, 400)
    if (this.#queue.length > 0) this.#schedule()
    const events = []
    for (const text of texts) {
      if (text === "") continue
      const one = event(text)
      if (one.position > this.position) {
        this.position = one.position
        events.push(one)
      }
    }
    this.head = Math.max(this.head, this.position)
    if (events.length > 0) this.#emit(events, false)
    if (this.state === "behind") this.#judge()
  }

  #emit(events, reset) {
    for (const fn of [...this.#subscribers]) {
      try {
        fn(events, { reset })
      } catch (error) {
        console.error(error)
      }
    }
  }

  #judge() {
    // Conflation holds progress back for a second: only what is older than the last poll counts.
    const late = this.#previousHead > this.position
    this.behind = late || this.#paused ? Math.max(0, this.head - this.position) : 0
    if (this.#paused) this.#set("paused")
    else if (this.#source?.readyState === EventSource.OPEN) this.#set(late ? "behind" : "live")
  }

  #poll() {
    clearTimeout(this.#timer)
    const run = this.#run
    this.#timer = setTimeout(async () => {
      try {
        const { value } = await get("/v1/moments", { points: 2 })
        if (run !== this.#run) return
        this.#previousHead = this.head
        this.head = Math.max(this.head, value.head)
        this.#judge()
      } catch (error) {
        if (run !== this.#run || error.status === 401) return
        if (!this.#paused) this.#set("away", error.detail)
      }
      if (run === this.#run) this.#poll()
    }, pollSeconds * 1000)
  }
}

export const live = new Live()
