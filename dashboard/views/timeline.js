// The timeline: one row a job, over a time axis whose idle stretches are folded.

import { change, go, href } from "../core/address.js"
import { segment } from "../core/api.js"
import { now } from "../core/clock.js"
import { fill, h, setText, stylesheet } from "../core/dom.js"
import { duration, millis, number, plural, time } from "../core/format.js"
import { bind } from "../core/keys.js"
import { live } from "../core/live.js"
import { at as momentShown, isQuick, quickTime, timeOf } from "../core/moment.js"
import { drawAxis } from "../parts/axis-marks.js"
import { filterBar } from "../parts/filter-bar.js"
import { FoldedAxis } from "../parts/folded-axis.js"
import { Grid } from "../parts/grid.js"
import { isOpen, overdue } from "../parts/job-fold.js"
import { clear, count, query, read, total } from "../parts/job-filters.js"
import { JobSource } from "../parts/job-source.js"
import { empty, problem } from "../parts/problem.js"
import { drawRow, makeRow } from "../parts/timeline-row.js"
import { Brush } from "../parts/brush.js"

const columns = [
  { key: "state", label: "State" },
  { key: "name", label: "Job" },
  { key: "bars", label: "" },
]
const shortestSpan = 1000
const layoutEvery = 400

class Timeline {
  #context
  #filters
  #shown = ""
  #at = null
  #clock = now()
  #axis = null
  #from = null
  #to = null
  #earliest = Infinity
  #intervals = []
  #isRunning = false

  constructor(root, context) {
    this.#context = context
    const { signal } = context
    this.source = new JobSource(
      {
        rows: () => this.#rows(),
        fresh: () => this.#note(),
        error: (error) => this.#fail(error),
        mayShift: () => this.#mayShift(),
      },
      signal,
    )
    this.bar = filterBar({ signal })
    this.grid = new Grid({
      id: "line",
      label: "Timeline of jobs",
      columns,
      make: makeRow,
      look: (from, to) => this.source.look(from, to),
      draw: (element, index) =>
        drawRow(element, this.source.row(index), {
          axis: this.#axis,
          at: this.#time(),
          silence: this.#filters.silence,
        }),
      open: (index) => !this.brush.wasDragged && this.#open(index),
      onScroll: () => this.#mayShift() && this.source.settle(),
    })
    this.axis = this.grid.head.children[2]
    this.axis.className = "axis"
    this.axis.setAttribute("aria-label", "Time")
    this.backdrop = h("div", { class: "backdrop", "aria-hidden": "true" })
    this.frame = h("div", { class: "timeline" }, this.backdrop, this.grid.element)
    this.brush = new Brush(this.frame, this.axis, {
      time: (x) => this.#axis?.time(x) ?? null,
      zoom: (from, to) => this.#zoom(from, to),
    })
    this.summary = h("span", { role: "status" }, "Loading …")
    this.fresh = h("button", { type: "button", class: "new", hidden: true, onclick: () => this.#showNew() })
    this.range = h("span", {})
    this.problem = h("div", { class: "jobs-problem", hidden: true })
    this.empty = h("div", { hidden: true })
    this.#build(root)
    this.#bindKeys(signal)
    const observer = new ResizeObserver(() => this.#layout())
    observer.observe(this.axis)
    const tick = setInterval(() => this.#at === null && !live.paused && !document.hidden && this.#layout(), 1000)
    signal.addEventListener(
      "abort",
      () => {
        clearInterval(tick)
        observer.disconnect()
        this.grid.destroy()
      },
      { once: true },
    )
    this.update(context.params)
  }

  #build(root) {
    const button = (text, title, run) => h("button", { type: "button", title, "aria-label": title, onclick: run }, text)
    this.fit = button("Fit", "Show all ( 0 )", () => this.#fit())
    this.#context.main.classList.add("fills")
    fill(
      root,
      h(
        "div",
        { class: "fill" },
        h("h1", { class: "visually-hidden" }, "Timeline"),
        this.bar.element,
        this.problem,
        h(
          "div",
          { class: "jobs-note" },
          this.summary,
          this.range,
          this.fresh,
          h(
            "div",
            { class: "zoom", role: "group", "aria-label": "Zoom" },
            button("←", "Earlier ( ← )", () => this.#pan(-0.25)),
            button("→", "Later ( → )", () => this.#pan(0.25)),
            button("−", "Zoom out ( - )", () => this.#scale(2)),
            button("+", "Zoom in ( + )", () => this.#scale(0.5)),
            this.fit,
          ),
        ),
        this.empty,
        this.frame,
      ),
    )
  }

  #bindKeys(signal) {
    bind(
      "Timeline",
      [
        { key: "/", text: "search", run: () => this.bar.focus() },
        { key: "+", show: "+ –", text: "zoom in and out", run: () => this.#scale(0.5) },
        { key: "=", run: () => this.#scale(0.5) },
        { key: "-", run: () => this.#scale(2) },
        { key: "ArrowLeft", show: "← →", text: "earlier and later", run: () => this.#pan(-0.25) },
        { key: "ArrowRight", run: () => this.#pan(0.25) },
        { key: "ArrowDown", show: "↑ ↓", text: "move in the table", run: () => this.grid.step(1) },
        { key: "ArrowUp", run: () => this.grid.step(-1) },
        { key: "0", text: "show all", run: () => this.#fit() },
        { key: "j", text: "next job", run: () => this.grid.step(1) },
        { key: "k", text: "job before", run: () => this.grid.step(-1) },
        {
          key: "o",
          show: "Enter or o",
          text: "open the job",
          run: () => this.grid.active >= 0 && this.#open(this.grid.active),
        },
        { key: "x", text: "clear the filters", run: clear },
      ],
      { signal },
    )
  }

  #missed = false

  update(params, { quick } = {}) {
    if (quick && this.source.isLoading) return (this.#missed = true)
    this.#missed = false
    this.#filters = read(params)
    const time = (name) =>
      params.get(name) && !Number.isNaN(Date.parse(params.get(name))) ? Date.parse(params.get(name)) : null
    this.#from = time("from")
    this.#to = time("to")
    this.#at = momentShown()
    if (quick && !Number.isNaN(quickTime())) this.#clock = quickTime()
    const { overdue: text, silence, ...filters } = this.#filters
    // Jobs that were queued after the end of what is shown have no bar in it.
    if (this.#to !== null) filters.until = earlier(filters.until, new Date(this.#to).toISOString())
    const list = JSON.stringify(filters)
    const wanted = JSON.stringify([list, this.#at])
    this.bar.update(this.#filters, this.source.counts)
    this.#layout()
    if (wanted === this.#shown) return
    if (list !== this.#list) {
      this.#earliest = Infinity
      this.grid.active = -1
      this.grid.scrollTo(0)
      this.source.expected = 0
      this.source.look(0, 60)
    }
    this.#list = list
    this.#shown = wanted
    this.source.ask(query({ ...filters, overdue: "", silence: 0 }, this.#time()), this.#at)
  }

  #list = ""

  #time() {
    return this.#at === null ? now() : this.#clock
  }

  #mayShift() {
    return this.grid.top < 2 && !this.brush.isOver && document.activeElement !== this.grid.element
  }

  /** Rows have changed: while events come the axis is made anew a few times a second, which is enough. */
  #rows() {
    const wait = layoutEvery - (performance.now() - this.#shownAt)
    if (wait <= 0 || this.#axis === null || this.#at !== null) return void this.#show()
    this.#soon ??= setTimeout(() => this.#show(), wait)
  }

  #shownAt = 0
  #soon = null

  async #show() {
    clearTimeout(this.#soon)
    this.#soon = null
    if (this.#context.signal.aborted) return
    this.#shownAt = performance.now()
    const { source, grid } = this
    source.expected = this.#to === null ? (total(this.#filters, source.counts) ?? 0) : 0
    this.problem.hidden = true
    grid.resize(source.size, source.isComplete || source.expected > 0)
    const isEmpty = source.size === 0
    this.frame.hidden = isEmpty
    this.empty.hidden = !isEmpty
    if (isEmpty) this.#showEmpty()
    this.bar.update(this.#filters, source.counts)
    this.#measure()
    this.#layout()
    this.#note()
    if (this.#missed && !source.isLoading && isQuick()) {
      const params = new URLSearchParams(location.search)
      params.set("at", momentShown())
      return this.update(params, { quick: true })
    }
    if (this.#at !== null && !source.isLoading && !isQuick()) {
      this.#clock = millis(await timeOf(source.pin, this.#context.signal).catch(() => null)) || this.#clock
      this.#layout()
    }
  }

  #showEmpty() {
    const isFiltered = count(this.#filters) > 0 || this.#to !== null
    fill(
      this.empty,
      isFiltered
        ? empty(
            "No job is like that",
            h("button", { type: "button", onclick: () => change({ from: null, to: null }) || clear() }, "Show all"),
          )
        : empty(
            this.#at === null ? "There are no jobs yet" : "There were no jobs yet",
            h("span", {}, "Each job becomes a row here."),
          ),
    )
  }

  /** When the loaded jobs did something: the rest of the axis is idle. */
  #measure() {
    this.#intervals = []
    const at = this.#time()
    // What runs now is heard now, so the end of the axis is not idle.
    this.#isRunning = false
    for (const row of this.source.loaded()) {
      this.#isRunning ||= isOpen(row) && row.started_at !== null && overdue(row, this.#filters.silence, at) === null
      const queued = millis(row.created_at)
      this.#earliest = Math.min(this.#earliest, queued)
      this.#intervals.push([queued, queued])
      if (row.started_at) this.#intervals.push([millis(row.started_at), millis(row.completed_at ?? row.updated_at)])
      if (row.completed_at) this.#intervals.push([millis(row.completed_at), millis(row.completed_at)])
    }
  }

  #bounds() {
    const end = this.#to ?? this.#time()
    let start = this.#from ?? this.#earliest
    if (!Number.isFinite(start) || end - start < shortestSpan) start = end - Math.max(shortestSpan, 60_000)
    const margin = (end - start) * 0.01
    return [this.#from ?? start - margin, this.#to ?? end + margin]
  }

  #layout() {
    const width = this.axis.clientWidth
    if (width === 0 || this.source.pin === null) return
    const [from, to] = this.#bounds()
    const at = this.#time()
    const intervals = this.#isRunning ? [...this.#intervals, [at - 1000, at]] : this.#intervals
    this.#axis = new FoldedAxis({ from, to, width, intervals })
    drawAxis(this.axis, this.backdrop, this.#axis)
    const idle = this.#axis.idle > 0 ? `, ${duration(this.#axis.idle)} idle folded` : ""
    setText(
      this.range,
      `${time(from)} to ${this.#to === null && this.#at === null ? "now" : time(to)} (${duration(to - from)}${idle})`,
    )
    this.fit.disabled = this.#from === null && this.#to === null
    this.grid.schedule()
  }

  #note() {
    const { source } = this
    const amount = source.fresh.size
    const size =
      source.isComplete || source.expected > 0
        ? plural(source.size, "job")
        : `${number(source.length - 1)} jobs or more`
    setText(this.summary, source.pin === null ? "Loading …" : size)
    this.fresh.hidden = amount === 0 || (this.#mayShift() && live.state === "live")
    setText(this.fresh, `${number(amount)} new`)
  }

  async #showNew() {
    this.grid.scrollTo(0)
    this.source.look(0, 60)
    await this.source.refresh()
  }

  #fail(error) {
    this.problem.hidden = false
    fill(
      this.problem,
      problem(error, () => this.source.refresh()),
    )
    if (this.source.pin === null) setText(this.summary, "")
  }

  #open(index) {
    const row = this.source.row(index)
    if (!row) return
    const url = new URL(href(`/jobs/${segment(row.id)}`), location.origin)
    go(url.pathname, url.searchParams)
  }

  /** Shows a stretch; one that ends at the moment shown goes on to follow it. */
  #zoom(from, to, options) {
    const end = this.#time()
    const span = Math.max(shortestSpan, to - from)
    const follows = to >= end - span * 0.005
    change(
      {
        from: new Date(Math.round(from)).toISOString(),
        to: follows ? null : new Date(Math.round(Math.max(to, from + shortestSpan))).toISOString(),
      },
      options,
    )
  }

  #scale(factor) {
    if (!this.#axis) return
    const { width, from, to } = this.#axis
    if (factor < 1) {
      // What follows now keeps its end; otherwise the middle stays.
      const start = this.#to === null ? width * (1 - factor) : (width * (1 - factor)) / 2
      return this.#zoom(this.#axis.time(start), this.#axis.time(start + width * factor), { replace: true })
    }
    const more = (to - from) * (factor - 1)
    if (from - more < this.#earliest && (this.#to === null || to + more >= this.#time())) return this.#fit()
    this.#zoom(
      from - (this.#to === null ? more : more / 2),
      this.#to === null ? to : Math.min(this.#time(), to + more / 2),
      { replace: true },
    )
  }

  #pan(share) {
    if (!this.#axis) return
    const [from, to] = [this.#axis.from, Math.min(this.#axis.to, this.#time())]
    const by = Math.min((to - from) * share, this.#time() - to)
    if (by !== 0) this.#zoom(from + by, to + by, { replace: true })
  }

  #fit() {
    change({ from: null, to: null })
  }
}

/** The earlier one of a time of the filters, which may be empty, and another. */
function earlier(text, other) {
  return text !== "" && !Number.isNaN(Date.parse(text)) && Date.parse(text) < Date.parse(other) ? text : other
}

export default {
  title: () => "Timeline",
  async mount(root, context) {
    await Promise.all([stylesheet("jobs"), stylesheet("timeline")])
    const view = new Timeline(root, context)
    return { update: (params, options) => view.update(params, options) }
  },
}
