// The rows of a list of jobs: pages of one moment that fit together, brought up to date by the feed.

import { get } from "../core/api.js"
import { live } from "../core/live.js"
import { fold, Rates } from "./job-fold.js"

export const pageSize = 100
const mostPages = 30
const mostRecent = 20_000
const mostStarted = 50_000
const interval = 500

export class JobSource {
  /** The position of the moment that the rows are pinned to; later events are folded onto them. */
  pin = null
  /** How many rows there are at least, and whether that is all. */
  length = 0
  isComplete = false
  /** How many rows there are by the counts, where they can tell. */
  expected = 0
  isLoading = false
  counts = null
  /** Jobs that have changed in a way that may change the list itself. */
  fresh = new Set()
  rates = new Rates()

  #pages = new Map()
  #byId = new Map()
  #asked = new Set()
  #recent = new Map()
  #started = new Set()
  #query = {}
  #at = null
  #window = [0, 0]
  #generation = 0
  #controller = new AbortController()
  #timer = null
  #lastStart = 0
  #lastTook = 0
  #stale = 0
  #on

  /**
   * `on.rows()` after rows have changed, `on.error(error)`, `on.fresh()` when `fresh` has changed,
   * `on.mayShift()` whether the list may be read anew without moving what somebody points at.
   */
  constructor(on, signal) {
    this.#on = on
    live.subscribe((events, { reset }) => this.#receive(events, reset), { signal })
    signal.addEventListener(
      "abort",
      () => {
        this.#controller.abort()
        clearTimeout(this.#timer)
      },
      { once: true },
    )
  }

  /** Shows another list, or another moment. The rows stay until those of the new one are there. */
  ask(query, at) {
    this.#query = query
    this.#at = at
    this.#started.clear()
    return this.refresh()
  }

  row(index) {
    return this.#pages.get(Math.floor(index / pageSize))?.[index % pageSize]
  }

  /** The rows that are loaded. */
  loaded() {
    return this.#byId.values()
  }

  /** The index of a loaded job, -1 if it is not loaded. */
  indexOf(id) {
    for (const [page, rows] of this.#pages) {
      const found = rows.findIndex((row) => row.id === id)
      if (found >= 0) return page * pageSize + found
    }
    return -1
  }

  /** Says which rows are looked at; loads those that are missing. */
  look(from, to) {
    this.#window = [from, to]
    if (this.pin === null || this.#generationLoading === this.#generation) return
    for (let page = Math.floor(from / pageSize); page * pageSize < to; page += 1) {
      if (!this.#pages.has(page) && page * pageSize < this.size) this.#load(page)
    }
  }

  #generationLoading = -1

  /** How many rows there are, as far as is known. */
  get size() {
    return this.isComplete ? this.length : Math.max(this.length, this.expected)
  }

  #params(page, at) {
    return { ...this.#query, at, offset: page * pageSize || null, limit: pageSize }
  }

  async #load(page) {
    if (this.#asked.has(page)) return
    this.#asked.add(page)
    const generation = this.#generation
    try {
      const { value } = await get("/v1/jobs", this.#params(page, this.pin), { signal: this.#controller.signal })
      if (generation !== this.#generation) return
      this.#keep(page, value)
      this.#on.rows()
    } catch (error) {
      if (generation === this.#generation && error.name !== "AbortError") this.#on.error(error)
    } finally {
      if (generation === this.#generation) this.#asked.delete(page)
    }
  }

  /** Reads the rows that are looked at anew, as of the newest moment or the one that was asked for. */
  async refresh() {
    clearTimeout(this.#timer)
    this.#timer = null
    this.#controller.abort()
    this.#controller = new AbortController()
    const { signal } = this.#controller
    const generation = ++this.#generation
    this.#generationLoading = generation
    this.#lastStart = performance.now()
    this.isLoading = true
    const at = this.#at
    const first = Math.floor(this.#window[0] / pageSize)
    const last = Math.floor(Math.max(this.#window[1] - 1, 0) / pageSize)
    try {
      let [{ value: head }, counts] = await Promise.all([
        get("/v1/jobs", this.#params(first, at), { signal }),
        this.#readCounts(at, signal),
      ])
      let start = first
      if (head.jobs.length === 0 && first > 0) {
        start = 0
        head = (await get("/v1/jobs", this.#params(0, head.position), { signal })).value
      }
      const rest = []
      for (let page = start + 1; page <= last && head.more && page <= start + 2; page += 1) {
        rest.push(get("/v1/jobs", this.#params(page, head.position), { signal }))
      }
      const more = await Promise.all(rest)
      if (generation !== this.#generation) return
      this.#replace(start, [head, ...more.map((answer) => answer.value)], counts)
    } catch (error) {
      if (generation === this.#generation && error.name !== "AbortError") {
        this.isLoading = false
        this.#generationLoading = -1
        this.#on.error(error)
        if (error.status === 0 || error.status === 503) this.#later(Math.min(15_000, 1000 * 2 ** this.#stale++))
      }
    }
  }

  async #readCounts(at, signal) {
    const { value } = await get("/v1/job-counts", { at }, { signal })
    return value
  }

  #replace(first, answers, counts) {
    this.isLoading = false
    this.#generationLoading = -1
    this.#lastTook = performance.now() - this.#lastStart
    this.counts = counts
    this.pin = answers[0].position
    this.#pages.clear()
    this.#byId.clear()
    this.#asked.clear()
    this.fresh.clear()
    for (const [job, events] of this.#recent) {
      const kept = this.#at === null ? events.filter((one) => one.position > this.pin) : []
      if (kept.length > 0) this.#recent.set(job, kept)
      else this.#recent.delete(job)
    }
    this.length = 0
    this.isComplete = false
    answers.forEach((answer, index) => this.#keep(first + index, answer))
    // A projection that is behind the feed: what it did not have yet is asked for again.
    const behind = this.#at === null && live.state !== "past" && this.pin < live.position
    this.#stale = behind ? this.#stale + 1 : 0
    if (behind) {
      for (const [job, events] of this.#recent) if (events.some((one) => one.type !== "progress")) this.fresh.add(job)
      if (this.fresh.size > 0) this.#later(Math.min(5000, interval * 2 ** this.#stale))
    }
    this.#on.rows()
    this.#on.fresh()
  }

  #keep(page, { jobs, more }) {
    for (const row of jobs) {
      for (const event of this.#recent.get(row.id) ?? []) fold(row, event)
      if (row.status !== "queued") this.#noteStarted(row.id)
      this.#byId.set(row.id, row)
    }
    this.#pages.delete(page)
    this.#pages.set(page, jobs)
    const end = page * pageSize + jobs.length
    if (jobs.length === 0 && page > 0) {
      // The counts were of another moment than the rows.
      this.expected = 0
    } else if (!more) {
      this.length = end
      this.isComplete = true
    } else if (!this.isComplete) {
      this.length = Math.max(this.length, end + 1)
    }
    for (const old of this.#pages.keys()) {
      if (this.#pages.size <= mostPages) break
      const [from, to] = this.#window
      if (old === page || (old * pageSize < to && (old + 1) * pageSize > from)) continue
      for (const row of this.#pages.get(old)) this.#byId.delete(row.id)
      this.#pages.delete(old)
    }
  }

  #noteStarted(id) {
    if (this.#started.size > mostStarted) this.#started.clear()
    this.#started.add(id)
  }

  /** Whether an event may change which rows are in the list, or their order. */
  #isFresh(event) {
    const { status, sort } = this.#query
    const isStart = event.type === "progress" && !this.#started.has(event.job)
    if (event.type === "progress") this.#noteStarted(event.job)
    if (sort === "updated") return true
    if (event.type === "queued") return !status?.length || status.includes("queued")
    if (event.type === "progress") {
      return (
        isStart &&
        ((status?.length > 0 && (status.includes("running") || status.includes("queued"))) || sort === "started")
      )
    }
    if (event.type === "truncated") return this.#query.truncated !== ""
    return status?.length > 0 || sort === "ended" || sort === "took" || this.#query.q !== ""
  }

  #receive(events, reset) {
    if (this.#at !== null) return
    if (reset) {
      this.#recent.clear()
      return this.#later(0)
    }
    let changed = false
    let counted = false
    for (const event of events) {
      if (event.job === undefined) continue
      this.rates.note(event)
      this.#remember(event)
      const row = this.#byId.get(event.job)
      const before = row?.status
      if (row && fold(row, event)) changed = true
      if (event.type !== "progress" || (row && row.status !== before)) counted = true
      if (this.#isFresh(event)) this.fresh.add(event.job)
    }
    if (changed) this.#on.rows()
    if (this.fresh.size > 0) {
      this.#on.fresh()
      if (this.#on.mayShift()) this.#later(interval, false)
    }
    if (counted && this.fresh.size === 0) this.#countLater()
    if (this.#recent.size > mostRecent) this.#later(0)
  }

  #remember(event) {
    const events = this.#recent.get(event.job)
    if (!events) return this.#recent.set(event.job, [event])
    const last = events.at(-1)
    if (last.type === "progress" && event.type === "progress" && events.length > 1) events[events.length - 1] = event
    else events.push(event)
  }

  /** Reads the list anew soon; unless that is a must, only if it still moves nothing that is pointed at. */
  #later(wait, isMust = true) {
    if (this.#timer !== null || this.#generationLoading === this.#generation) return
    const since = performance.now() - this.#lastStart
    // At most twice a second, and no more than a quarter of the time where an answer takes long.
    const least = Math.max(interval, 4 * this.#lastTook) - since
    this.#timer = setTimeout(
      () => {
        this.#timer = null
        if (isMust || this.#on.mayShift()) this.refresh()
      },
      Math.max(wait, least, 0),
    )
  }

  /** Reads the list anew soon, if something in it has changed. */
  settle() {
    if (this.fresh.size > 0) this.#later(0, false)
  }

  #counting = null

  #countLater() {
    this.#counting ??= setTimeout(async () => {
      try {
        if (this.#at === null && !this.#controller.signal.aborted) {
          this.counts = await this.#readCounts(null, this.#controller.signal)
          this.#on.rows()
        }
      } catch {
        // The next change counts again.
      }
      this.#counting = null
    }, 2 * interval)
  }
}
