// One job: its life, its progress, the values of its row and who set them, its runs and its events,
// now or as of a moment.
import { get, segment } from "../core/api.js"
import { change, here, link } from "../core/address.js"
import { now } from "../core/clock.js"
import { fill, h, setText, stylesheet } from "../core/dom.js"
import { ago, duration, millis, number, rate } from "../core/format.js"
import { bind } from "../core/keys.js"
import { live } from "../core/live.js"
import { badge, progressBar } from "../parts/badge.js"
import { RowPanel } from "../parts/blame.js"
import { EventList } from "../parts/event-list.js"
import { JobHistory } from "../parts/job-history.js"
import { LifeDiagram } from "../parts/life.js"
import { empty, problem, retrying } from "../parts/problem.js"
import { ProgressChart } from "../parts/progress-chart.js"
import { proofOfJob } from "../parts/proof-box.js"
import { RunsLoader } from "../parts/runs-loader.js"
import { RunsPanel } from "../parts/runs-panel.js"

const path = id => `/v1/jobs/${segment(id)}`

class JobView {
  constructor(root, context) {
    Object.assign(this, { context, id: context.id, signal: context.signal })
    const { signal, announce } = context
    this.head = h("header", { class: "job-head" })
    this.message = h("div")
    this.life = new LifeDiagram()
    this.chart = new ProgressChart()
    this.events = new EventList({ job: this.id, signal, announce })
    this.values = new RowPanel({ job: this.id, signal, reveal: position => this.events.reveal(position) })
    this.runs = new RunsPanel({ csv: () => `${path(this.id)}/runs?format=csv`, announce })
    this.history = new JobHistory(this.id, signal)
    this.loader = new RunsLoader(this.id, () => this.runs.show(this.loader.state, here().params))
    const proof = proofOfJob(this.id, { signal, announce, shown: () => this.history.last })
    this.sections = h(
      "div",
      { class: "job-grid" },
      h(
        "section",
        { class: "panel life-panel", "aria-labelledby": "life-title" },
        h("header", {}, h("h2", { id: "life-title" }, "Life")),
        h("div", { class: "body" }, this.life.root),
      ),
      h(
        "section",
        { class: "panel progress-panel", "aria-labelledby": "progress-title" },
        h("header", {}, h("h2", { id: "progress-title" }, "Progress"), (this.speed = h("span", { class: "muted" }))),
        h("div", { class: "body" }, this.chart.root),
      ),
      this.values.root,
      this.runs.root,
      this.events.root,
      h(
        "section",
        { class: "panel", "aria-labelledby": "job-proof-title" },
        h(
          "header",
          {},
          h("h2", { id: "job-proof-title" }, "Proof"),
          h("span", { class: "muted small" }, "checked in this browser, against the key that you have pinned"),
        ),
        h("div", { class: "body" }, proof),
      ),
    )
    fill(root, (this.page = h("div", { class: "page job" }, this.head, this.message, this.sections)))
    this.sections.hidden = true
    this.params = context.params
    this.turn = 0
    this.load = retrying(() => this.read(), { signal, onError: (error, retry) => this.fail(error, retry) })
  }

  get at() {
    return this.params.get("at")
  }

  /** Reads what the moment shows. While the time bar is dragged, only the row and the life. */
  async read() {
    const turn = ++this.turn
    const at = this.at
    const isPast = at !== null
    const [row] = await Promise.all([
      get(path(this.id), isPast ? { at } : {}, { signal: this.signal }),
      this.history.load(at, { isQuick: this.isQuick }),
    ])
    if (turn !== this.turn) return
    this.row = row
    this.shownAt = at
    fill(this.message)
    this.sections.hidden = false
    this.draw()
    if (this.isQuick) return
    this.events.load(this.params)
    this.readSeries()
    await this.readRuns()
  }

  async readSeries() {
    const { turn } = this
    this.seriesRead = performance.now()
    try {
      await this.history.loadSeries(this.at, { isForced: this.history.isSparse })
      if (turn === this.turn) this.drawChart()
    } catch (error) {
      if (!this.signal.aborted) console.error(error)
    }
  }

  readRuns() {
    const { head, last } = this.history
    // The read model has the runs of now, and so of every moment since the job's last event.
    const isNow = this.at === null || (head && last && head.version === last.version)
    this.runsRead = performance.now()
    return isNow ? this.loader.now(this.signal) : this.loader.past(last?.version ?? 0, this.signal)
  }

  fail(error, retry) {
    this.turn += 1
    const isUnknown = error.code === "unknown_job"
    if (isUnknown) {
      this.sections.hidden = true
      fill(this.head, h("h1", { class: "name" }, this.id))
      fill(
        this.message,
        this.at === null
          ? empty("There is no such job", "It may not be queued yet: this page shows it as soon as it is.")
          : empty("The job did not exist yet", "at this moment of the log."),
      )
    } else {
      fill(this.message, problem(error, retry))
    }
  }

  draw() {
    const {
      row: { value: row, source, position },
      history,
    } = this
    this.drawHead(row)
    this.values.show(source, { at: this.shownAt, position: this.shownAt === null ? history.last?.position : position })
    this.drawLife(row)
    this.drawChart()
  }

  /** The moment up to which the job has run: now, or the moment shown. */
  get until() {
    if (this.shownAt === null) return now()
    const { last } = this.history
    const at = millis(/^\d+$/.test(this.shownAt) ? this.history.momentTime : this.shownAt)
    return Number.isNaN(at) ? (last ? millis(last.recorded_at) : now()) : at
  }

  drawLife(row) {
    const { marks } = this.history
    if (marks)
      this.life.show({ ...marks, status: row.status, now: this.until, time: event => this.history.time(event) })
  }

  drawHead(row) {
    const { last, marks } = this.history
    const isEnded = row.status === "finished" || row.status === "failed"
    const share = row.total > 0 ? `${number(row.completed)} of ${number(row.total)}` : `${number(row.completed)} done`
    const quiet = last && !isEnded ? ` · last word ${ago(last.recorded_at, this.until)}` : ""
    const from = marks?.running ?? marks?.queued
    const took = from
      ? duration((isEnded && marks.end ? this.history.time(marks.end) : this.until) - this.history.time(from))
      : ""
    // The header is drawn anew for each event, so that what has the focus must not be in it.
    fill(
      this.head,
      h(
        "div",
        { class: "job-title" },
        h("h1", { class: "name" }, row.name),
        badge(row.status),
        row.truncated && badge("warn", "truncated"),
        h("span", { class: "muted" }, row.kind),
      ),
      h(
        "div",
        { class: "job-line" },
        h("code", { class: "name" }, row.id),
        marks?.queued?.actor && h("span", { class: "name" }, `queued by ${marks.queued.actor}`),
        h("span", {}, share),
        took &&
          h(
            "span",
            { class: "muted" },
            `${isEnded ? "took" : row.status === "running" ? "running for" : "waiting for"} ${took}${quiet}`,
          ),
      ),
      progressBar({ completed: row.completed, total: row.total, state: row.status, label: "Progress of the job" }),
      row.error &&
        h(
          "div",
          { class: "error job-error" },
          h("pre", { class: "name" }, row.error.length > 5000 ? `${row.error.slice(0, 5000)}…` : row.error),
        ),
    )
  }

  drawChart() {
    const { value: row } = this.row
    const { series, points } = this.history
    const isEnded = row.status === "finished" || row.status === "failed"
    this.chart.show({
      points,
      events: series.events,
      total: row.total,
      isSample: points.length < series.events,
      isLoading: series.at === undefined,
      end: isEnded ? points.at(-1)?.time : this.until,
    })
    const [first, last] = [points.find(point => point.type === "progress"), points.at(-1)]
    const speed =
      first && last && last.time > first.time ? (last.reached - first.reached) / ((last.time - first.time) / 1000) : NaN
    const left =
      row.status === "running" && row.total > row.completed && speed > 0
        ? `, ${duration((1000 * (row.total - row.completed)) / speed)} left at this rate`
        : ""
    setText(this.speed, Number.isFinite(speed) && speed > 0 ? rate(speed) + left : "")
  }

  /** New events of the job: the chart takes them as they are, the rest is read again, not too often. */
  follow(events, { reset }) {
    if (this.at !== null || !this.context) return
    if (reset) return this.load()
    const mine = events.filter(event => event.job === this.id)
    if (mine.length === 0) return
    for (const event of mine) this.history.add(event)
    this.wanted = Math.max(this.wanted ?? 0, mine.at(-1).position)
    this.refreshTimer ??= setTimeout(() => this.refresh(), 400)
  }

  async refresh() {
    const minPosition = this.wanted
    if (!this.row) {
      // The job has just begun: nothing was read yet.
      this.refreshTimer = null
      return this.load()
    }
    try {
      const row = await get(path(this.id), { min_position: minPosition }, { signal: this.signal })
      if (this.at === null) {
        this.row = row
        this.shownAt = null
        fill(this.message)
        this.sections.hidden = false
        this.history.noteHead()
        this.draw()
        this.events.refresh()
        const isEnded = row.value.status === "finished" || row.value.status === "failed"
        const patience = Math.max(4000, 20 * (this.loader.took ?? 0))
        if (isEnded || performance.now() - this.runsRead > patience) this.readRuns()
        if (isEnded || (this.history.isSparse && performance.now() - this.seriesRead > 10_000)) this.readSeries()
      }
    } catch {
      if (!this.signal.aborted) this.load()
    }
    this.refreshTimer = this.wanted > minPosition ? setTimeout(() => this.refresh(), 400) : null
  }

  tick() {
    if (!this.row || this.at !== null || document.hidden) return
    const { status } = this.row.value
    if (status === "finished" || status === "failed") return
    this.drawHead(this.row.value)
    this.drawLife(this.row.value)
  }

  update(params, { quick = false } = {}) {
    const isOther = params.get("at") !== this.at
    this.params = params
    this.isQuick = quick
    if (isOther || (!quick && this.wasQuick)) this.load()
    else {
      this.events.load(params)
      this.runs.show(this.loader.state, params)
    }
    this.wasQuick = quick
  }
}

export default {
  title: (params, context) => context?.id ?? "Job",
  async mount(root, context) {
    await Promise.all([stylesheet("job"), stylesheet("proof")])
    const view = new JobView(root, context)
    const { signal } = context
    live.subscribe((events, info) => view.follow(events, info), { signal })
    const timer = setInterval(() => view.tick(), 1000)
    bind(
      "A job",
      [
        {
          key: "m",
          text: "runs: heat map or table",
          run: () => change({ runs: here().params.get("runs") === "table" ? "map" : "table" }, { replace: true }),
        },
        { key: "e", text: "go to the events", run: () => view.events.root.scrollIntoView() },
        { key: "r", text: "go to the runs", run: () => view.runs.root.scrollIntoView() },
        { key: "u", text: "back to the jobs", run: () => link("/jobs", {}).click() },
      ],
      { signal },
    )
    await view.load()
    return {
      update: (params, options) => view.update(params, options),
      unmount() {
        clearInterval(timer)
        clearTimeout(view.refreshTimer)
        view.loader.cancel()
        view.runs.end()
      },
    }
  },
}
