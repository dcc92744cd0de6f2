// What the events of a job say about its life: when it was queued, ran, was truncated and ended, and
// its progress over time, now or up to a moment.
import { get, segment } from "../core/api.js"
import { millis } from "../core/format.js"
import { Series, sampledVersions } from "./series.js"

/** Jobs with at most this many events are read as they are; of others this many are taken. */
const wholeEvents = 1500
const samples = 160
const atOnce = 6

const typeOf = event => event.type.replace(/^io\.jobledger\.job\./, "")

export class JobHistory {
  series = new Series()
  /** The last event at the moment shown, and of all. */
  last = null
  head = null
  marks = null
  /** When the position that is shown was recorded, if that is known. */
  momentTime = null

  constructor(job, signal) {
    Object.assign(this, { job, signal })
  }

  get end() {
    return this.marks?.end ?? null
  }

  /**
   * By whose clock times are told: the callers' where their times are in the order of the events,
   * otherwise the ledger's, which never goes back.
   */
  get clock() {
    const { queued, running, truncated, end } = this.marks ?? { truncated: [] }
    const events = [queued, running, ...truncated, end].filter(Boolean).sort((a, b) => a.version - b.version)
    const isOrdered = events.every((event, index) => index === 0 || happened(event) >= happened(events[index - 1]))
    return isOrdered ? "caller" : "ledger"
  }

  /** When an event happened, in milliseconds, by that clock. */
  time(event, clock = this.clock) {
    return clock === "caller" ? happened(event) : millis(event.recorded_at)
  }

  /** The points of the chart, with their times by the clock in whose order they are. */
  get points() {
    const { points } = this.series
    const isOrdered = points.every((one, index) => index === 0 || one.happened >= points[index - 1].happened)
    for (const one of points) one.time = isOrdered ? one.happened : one.recorded
    return points
  }

  #trail(params) {
    return get("/v1/audit/events", { job: this.job, limit: 1, ...params }, { signal: this.signal }).then(
      ({ value }) => value.events,
    )
  }

  /** Whether the stream has left out so much that an even sample would show more. */
  get isSparse() {
    return this.series.points.length < Math.min(this.series.events, samples) / 2
  }

  /** Reads the marks of the life up to a moment, or up to now. */
  async load(at, { isQuick = false } = {}) {
    const to = at ?? undefined
    const [queued, running, truncated, newest, head, moment] = await Promise.all([
      this.#trail({ order: "oldest", to }),
      this.#trail({ order: "oldest", type: "progress", to }),
      this.#trail({ order: "oldest", type: "truncated", limit: 200, to }),
      this.#trail({ to }),
      at === null || isQuick ? null : this.#trail({}),
      at !== null && /^\d+$/.test(at)
        ? get("/v1/audit/events", { limit: 1, to: at }, { signal: this.signal }).then(({ value }) => value.events)
        : null,
    ])
    this.last = newest[0] ?? null
    this.head = head === null ? this.last : (head[0] ?? null)
    this.momentTime = moment?.[0]?.recorded_at ?? null
    const isEnd = ["finished", "failed"].includes(this.last?.type)
    this.marks = {
      queued: queued[0] ?? null,
      running: running[0] ?? null,
      end: isEnd ? this.last : null,
      truncated,
      truncatedCount: truncated.length,
    }
  }

  /** Reads progress over time: all events of a short job, an even sample of a long one. */
  async loadSeries(at, { isForced = false } = {}) {
    const last = this.last?.version ?? 0
    if (!isForced && this.series.at === at && this.series.points.at(-1)?.version >= last) return
    const series = new Series()
    series.at = at
    const points = last <= wholeEvents ? await this.#all(last) : await this.#sample(last)
    for (const point of points) series.add(point)
    series.events = Math.max(series.events, last)
    // Events that came meanwhile are in the old series.
    if (at === null && this.series.at === null) for (const point of this.series.points) series.add(point)
    this.series = series
  }

  async #all(last) {
    const points = []
    let next = `/v1/jobs/${segment(this.job)}/events?after=0&limit=1000`
    while (next && last > 0) {
      const { value } = await get(next, {}, { signal: this.signal })
      for (const event of value.events) {
        if (event.streamversion > last) return points
        points.push(point(event))
      }
      next = value.next
    }
    return points
  }

  async #sample(last) {
    const versions = sampledVersions(last, samples)
    const points = []
    const work = async () => {
      while (versions.length > 0) {
        const version = versions.shift()
        const { value } = await get(
          `/v1/jobs/${segment(this.job)}/events`,
          { after: version - 1, limit: 1 },
          { signal: this.signal },
        )
        if (value.events[0]) points.push(point(value.events[0]))
      }
    }
    await Promise.all(Array.from({ length: atOnce }, work))
    const known = new Set(points.map(one => one.version))
    for (const mark of this.marks.truncated) {
      if (!known.has(mark.version))
        points.push({
          ...mark,
          happened: happened(mark),
          recorded: millis(mark.recorded_at),
          completed: null,
          total: null,
        })
    }
    return points.sort((a, b) => a.version - b.version)
  }

  /** Takes a live event. */
  add(event) {
    const entry = {
      position: event.position,
      version: event.version,
      type: event.type,
      job: event.job,
      actor: event.actor ?? null,
      recorded_at: event.recorded_at,
      occurred_at: event.happened_at === event.recorded_at ? null : event.happened_at,
    }
    if (this.last && entry.version <= this.last.version) return
    this.last = entry
    this.series.add({
      happened: millis(event.happened_at),
      recorded: millis(event.recorded_at),
      completed: event.data?.completed ?? null,
      total: event.total ?? null,
      position: entry.position,
      version: entry.version,
      type: entry.type,
    })
    const { marks } = this
    if (!marks) return
    if (entry.type === "queued") marks.queued ??= entry
    if (entry.type === "progress") marks.running ??= entry
    if (entry.type === "truncated")
      Object.assign(marks, {
        truncated: [...marks.truncated, entry].slice(-200),
        truncatedCount: marks.truncatedCount + 1,
      })
    if (entry.type === "finished" || entry.type === "failed") marks.end = entry
  }

  noteHead() {
    this.head = this.last
  }
}

function happened(event) {
  return millis(event.occurred_at ?? event.recorded_at)
}

function point(event) {
  return {
    happened: millis(event.time),
    recorded: millis(event.recordedtime),
    completed: event.data?.completed ?? null,
    total: event.total ?? null,
    position: Number(event.position),
    version: event.streamversion,
    type: typeOf(event),
  }
}
