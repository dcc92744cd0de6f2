// The overview: whether all is well, how many jobs there are, what runs, what failed, what ended.

import { link } from "../core/address.js"
import { get, segment } from "../core/api.js"
import { now } from "../core/clock.js"
import { fill, h, setText, stylesheet } from "../core/dom.js"
import { ago, compact, duration, millis, number, plural, rate, roughly, timeElement } from "../core/format.js"
import { live } from "../core/live.js"
import {
  at as momentShown,
  duration as parseDuration,
  isQuick,
  params as withMoment,
  quickTime,
  timeOf,
} from "../core/moment.js"
import { badge } from "../parts/badge.js"
import { health } from "../parts/health.js"
import { fold, overdue, Rates, took } from "../parts/job-fold.js"
import { states, usualOverdue } from "../parts/job-filters.js"
import { errorLine, progressWords } from "../parts/job-row.js"
import { empty, problem, retrying } from "../parts/problem.js"
import { Wellness } from "../parts/wellness.js"

const shown = 8
const healthSeconds = 5
const silence = parseDuration(usualOverdue)
// Once this many events a second come, lists that change with each end are read less often.
const least = 1000

function jobLink(row) {
  const anchor = link(`/jobs/${segment(row.id)}`, {}, row.name)
  anchor.className = "name cut"
  anchor.title = `${row.name} (${row.id})`
  return anchor
}

function panel(title, path, params, body) {
  return h("section", { class: "panel" }, h("header", {}, h("h2", {}, title), link(path, params, "All")), body)
}

/** The head of the log in the last minutes, for the rate of appends. */
class Pulse {
  #samples = []

  add(rate) {
    this.#samples.push(rate)
    if (this.#samples.length > 60) this.#samples.shift()
  }

  get path() {
    const top = Math.max(...this.#samples, 1e-9)
    const last = this.#samples.length - 1
    if (last < 1) return ""
    const place = (value, index) => `${((index * 100) / last).toFixed(1)} ${(21 - (20 * value) / top).toFixed(1)}`
    return `M${this.#samples.map(place).join("L")}`
  }
}

class Overview {
  #context
  #shown
  #running = new Map()
  #rates = new Rates()
  #clock = now()
  #pulse = new Pulse()
  #timer = null
  #frame = null
  #lastRead = 0
  #isReading = false

  constructor(root, context) {
    this.#context = context
    const { signal } = context
    this.#build(root)
    this.load = retrying(() => this.#read(), { signal, onError: (error, retry) => this.#fail(error, retry) })
    this.check = retrying(() => this.#readHealth(), {
      signal,
      onError: (error) => this.#at() === null && this.wellness.unknown(error),
    })
    live.subscribe((events, { reset }) => this.#receive(events, reset), { signal })
    const timers = [
      setInterval(() => this.#at() === null && !document.hidden && this.check(), healthSeconds * 1000),
      setInterval(() => this.#at() === null && !live.paused && this.#schedule(), 1000),
    ]
    signal.addEventListener(
      "abort",
      () => {
        timers.forEach(clearInterval)
        clearTimeout(this.#timer)
        cancelAnimationFrame(this.#frame)
      },
      { once: true },
    )
    this.update()
  }

  #at() {
    return momentShown()
  }

  #build(root) {
    this.wellness = new Wellness(this.#context.announce)
    this.problem = h("div", { hidden: true })
    const tile = (path, params, label, value) => {
      const node = link(path, params, h("span", { class: "label" }, label), value)
      node.className = "panel tile"
      return node
    }
    this.numbers = Object.fromEntries(states.map((state) => [state, h("strong", {}, "–")]))
    this.rate = h("strong", {}, "–")
    this.head = h("strong", {}, "–")
    this.line = h("path", { d: "" })
    this.rateTile = tile("/operations", {}, "Appended", [
      this.rate,
      h("svg", { viewBox: "0 0 100 22", preserveAspectRatio: "none", "aria-hidden": "true" }, this.line),
    ])
    this.tiles = h(
      "div",
      { class: "tiles" },
      states.map((state) => tile("/jobs", { status: state }, badge(state), this.numbers[state])),
      this.rateTile,
      tile("/audit", {}, "Events in the log", this.head),
    )
    this.runningList = h("div", {})
    this.failedList = h("div", {})
    this.endedList = h("div", {})
    fill(
      root,
      h(
        "div",
        { class: "page" },
        h("h1", { class: "visually-hidden" }, "Overview"),
        this.wellness.element,
        this.problem,
        this.tiles,
        h(
          "div",
          { class: "columns" },
          h(
            "div",
            {},
            panel("Running", "/jobs", { status: "running" }, this.runningList),
            panel("Last ended", "/jobs", { status: ["finished", "failed"], sort: "ended" }, this.endedList),
          ),
          h("div", {}, panel("Last failures", "/jobs", { status: "failed", sort: "ended" }, this.failedList)),
        ),
      ),
    )
  }

  update({ quick = false } = {}) {
    const moment = this.#at()
    if (moment === this.#shown || (quick && this.#isReading)) return
    this.#shown = moment
    this.load()
    this.rateTile.hidden = moment !== null
    if (moment === null) this.check()
    else this.wellness.past()
  }

  async #read() {
    const { signal } = this.#context
    const moment = this.#at()
    this.#lastRead = performance.now()
    this.#isReading = true
    const list = (params) => get("/v1/jobs", withMoment({ limit: shown, ...params }), { signal })
    try {
      const [counts, running, failed, ended] = await Promise.all([
        get("/v1/job-counts", withMoment(), { signal }),
        list({ status: "running", sort: "updated", order: "desc" }),
        list({ status: "failed", sort: "ended", order: "desc", limit: 6 }),
        list({ status: ["finished", "failed"], sort: "ended", order: "desc" }),
      ])
      if (moment !== this.#at()) return
      this.#lists = { counts: counts.value, failed: failed.value.jobs, ended: ended.value.jobs }
      this.#running = new Map(running.value.jobs.map((row) => [row.id, row]))
      this.#clock =
        moment === null
          ? now()
          : quickTime() || millis(await timeOf(counts.value.position, signal).catch(() => null)) || now()
      this.problem.hidden = true
      this.#showLists()
    } finally {
      this.#isReading = false
      if (this.#shown !== this.#at() && !signal.aborted) this.update({ quick: isQuick() })
    }
  }

  #lists = null

  #fail(error, retry) {
    this.problem.hidden = false
    fill(this.problem, problem(error, retry))
  }

  #showLists() {
    const { counts, failed, ended } = this.#lists
    for (const state of states) {
      setText(this.numbers[state], counts[state] >= 1_000_000 ? compact(counts[state]) : number(counts[state]))
      this.numbers[state].title = number(counts[state])
    }
    this.#showHead(counts.position)
    if (states.every((state) => counts[state] === 0)) {
      fill(
        this.runningList,
        empty(
          "There are no jobs yet",
          h("code", {}, `jobledger append backtest-1 queued --data '{"name": "first", "total": 100}'`),
        ),
      )
    } else if (this.#running.size === 0) {
      fill(
        this.runningList,
        empty(
          "Nothing runs",
          counts.queued > 0 && `${plural(counts.queued, "job")} ${counts.queued === 1 ? "waits" : "wait"}.`,
        ),
      )
    } else {
      this.#makeRunning()
    }
    fill(
      this.failedList,
      failed.length === 0
        ? empty("No job has failed")
        : h(
            "ol",
            { class: "list failures" },
            failed.map((row) =>
              h(
                "li",
                {},
                jobLink(row),
                h("span", { class: "when" }, this.#when(row.completed_at)),
                h("span", { class: "reason cut", title: row.error ?? "" }, errorLine(row.error)),
              ),
            ),
          ),
    )
    fill(
      this.endedList,
      ended.length === 0
        ? empty("No job has ended")
        : h(
            "ol",
            { class: "list ended" },
            ended.map((row) =>
              h(
                "li",
                {},
                badge(row.status),
                jobLink(row),
                h("span", { class: "when took" }, duration(took(row, this.#time()))),
                h("span", { class: "when" }, this.#when(row.completed_at)),
              ),
            ),
          ),
    )
  }

  #when(iso) {
    return timeElement(iso, ago(iso, this.#time()))
  }

  #time() {
    return this.#at() === null ? now() : this.#clock
  }

  #makeRunning() {
    this.rows = [...this.#running.values()].map((row) => {
      const bar = h("i")
      const words = h("span", { class: "words cut" }, "")
      return {
        row,
        bar,
        words,
        item: h(
          "li",
          {},
          jobLink(row),
          h("div", { class: "progress", "data-state": "running", "aria-hidden": "true" }, bar),
          words,
        ),
      }
    })
    fill(
      this.runningList,
      h(
        "ol",
        { class: "list running" },
        this.rows.map((one) => one.item),
      ),
    )
    this.#drawRunning()
  }

  rows = []

  #drawRunning() {
    for (const { row, bar, words } of this.rows) {
      const transform = `scaleX(${row.total > 0 ? Math.min(1, row.completed / row.total).toFixed(4) : 0})`
      if (bar.style.transform !== transform) bar.style.transform = transform
      const quiet = overdue(row, silence, this.#time())
      words.classList.toggle("late", quiet !== null)
      setText(
        words,
        quiet === null ? progressWords(row, this.#rates, this.#time()) : `overdue, silent ${roughly(quiet)}`,
      )
    }
    this.#showHead(
      this.#at() === null ? Math.max(live.head, this.#lists?.counts.position ?? 0) : this.#lists?.counts.position,
    )
  }

  #showHead(position) {
    if (position !== undefined) setText(this.head, position >= 10_000_000 ? compact(position) : number(position))
  }

  #schedule() {
    this.#frame ??= requestAnimationFrame(() => {
      this.#frame = null
      this.#drawRunning()
    })
  }

  #receive(events, reset) {
    if (this.#at() !== null) return
    let isChanged = reset
    for (const event of events) {
      if (event.job === undefined) continue
      this.#rates.note(event)
      const row = this.#running.get(event.job)
      if (row) fold(row, event)
      if (event.type !== "progress" || (!row && this.#running.size < shown)) isChanged = true
    }
    this.#schedule()
    if (isChanged) this.#later()
  }

  #later() {
    this.#timer ??= setTimeout(
      () => {
        this.#timer = null
        if (!this.#isReading) this.load()
        else this.#later()
      },
      Math.max(50, least - (performance.now() - this.#lastRead)),
    )
  }

  async #readHealth() {
    const { status, problems } = await health(this.#context.signal)
    if (this.#at() !== null) return
    this.#pulse.add(status.append_rate ?? 0)
    setText(this.rate, rate(status.append_rate ?? NaN))
    this.line.setAttribute("d", this.#pulse.path)
    this.wellness.show(status, problems)
  }
}

export default {
  title: () => "Overview",
  async mount(root, context) {
    await stylesheet("overview")
    const view = new Overview(root, context)
    return { update: (_, options) => view.update(options) }
  },
}
