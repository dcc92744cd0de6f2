// The table of jobs.

import { change, go, href } from "../core/address.js"
import { segment } from "../core/api.js"
import { now } from "../core/clock.js"
import { fill, h, setText, stylesheet } from "../core/dom.js"
import { millis, number, plural } from "../core/format.js"
import { bind } from "../core/keys.js"
import { live } from "../core/live.js"
import { at as momentShown, isQuick, quickTime, timeOf } from "../core/moment.js"
import { filterBar } from "../parts/filter-bar.js"
import { Grid } from "../parts/grid.js"
import { clear, count, orders, query, read, states, toggle, total } from "../parts/job-filters.js"
import { columns, drawRow, makeRow } from "../parts/job-row.js"
import { JobSource } from "../parts/job-source.js"
import { empty, problem } from "../parts/problem.js"

class JobsView {
  #context
  #filters
  #shown = ""
  #at = null
  #clock = now()
  #isHovered = false

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
      id: "job",
      label: "Jobs",
      columns,
      make: makeRow,
      look: (from, to) => this.source.look(from, to),
      draw: (element, index) => this.#draw(element, index),
      open: (index, event) => this.#open(index, event),
      sort: (column) => this.#sort(column),
      onActive: (index) => (this.#activeId = this.source.row(index)?.id ?? null),
      onScroll: () => this.#mayShift() && this.source.settle(),
    })
    this.note = h("div", { class: "jobs-note" })
    this.summary = h("span", { role: "status" }, "Loading …")
    this.fresh = h("button", { type: "button", class: "new", hidden: true, onclick: () => this.#showNew() })
    this.late = h("span", {})
    fill(this.note, this.summary, this.fresh, this.late)
    this.problem = h("div", { class: "jobs-problem", hidden: true })
    this.empty = h("div", { hidden: true })
    this.grid.element.addEventListener("pointerenter", () => (this.#isHovered = true))
    this.grid.element.addEventListener("pointerleave", () => {
      this.#isHovered = false
      if (this.#mayShift()) this.source.settle()
    })
    this.grid.element.addEventListener("blur", () => this.#mayShift() && this.source.settle())
    context.main.classList.add("fills")
    fill(
      root,
      h(
        "div",
        { class: "fill" },
        h("h1", { class: "visually-hidden" }, "Jobs"),
        this.bar.element,
        this.problem,
        this.note,
        this.empty,
        this.grid.element,
      ),
    )
    this.#bindKeys(signal)
    const tick = setInterval(() => this.#tick(), 1000)
    signal.addEventListener(
      "abort",
      () => {
        clearInterval(tick)
        this.grid.destroy()
      },
      { once: true },
    )
    this.update(context.params, { quick: false })
  }

  #bindKeys(signal) {
    const move = (key, by, text) => ({ key, text, run: () => this.grid.step(by) })
    bind(
      "Jobs",
      [
        { key: "/", text: "search", run: () => this.bar.focus() },
        move("j", 1, "next job"),
        move("k", -1, "job before"),
        { key: "ArrowDown", show: "↑ ↓", text: "move in the table", run: () => this.grid.step(1) },
        { key: "ArrowUp", run: () => this.grid.step(-1) },
        { show: "Home End PgUp PgDn", text: "move far in the table" },
        {
          key: "o",
          show: "Enter or o",
          text: "open the job",
          run: (event) => this.grid.active >= 0 && this.#open(this.grid.active, event),
        },
        { key: "n", text: "show what is new", run: () => this.#showNew() },
        ...states.map((state, index) => ({
          key: String(index + 1),
          text: `only ${state}, or all again`,
          run: () => toggle(this.#params, "status", state),
        })),
        { key: "x", text: "clear the filters", run: clear },
      ],
      { signal },
    )
  }

  #params

  update(params, { quick } = {}) {
    // While the time bar is dragged, a picture that is under way is finished before the next one.
    if (quick && this.source.isLoading) return (this.#missed = true)
    this.#missed = false
    this.#params = params
    this.#filters = read(params)
    const moment = momentShown()
    const { overdue, silence, ...filters } = this.#filters
    const wanted = JSON.stringify([filters, moment])
    const list = JSON.stringify(filters)
    const isNewList = list !== this.#list
    this.#list = list
    this.#at = moment
    if (quick && !Number.isNaN(quickTime())) this.#clock = quickTime()
    this.grid.showSort(
      filters.sort || "queued",
      (filters.order || (filters.sort === "name" ? "asc" : "desc")) === "asc",
    )
    this.bar.update(this.#filters, this.source.counts)
    if (wanted === this.#shown) return this.grid.schedule()
    this.#shown = wanted
    this.grid.element.classList.add("is-old")
    if (isNewList && this.source.pin !== null) {
      this.grid.scrollTo(0)
      this.grid.active = -1
      this.source.expected = 0
      this.source.look(0, 40)
    }
    this.#ask(moment)
  }

  #list = ""
  #missed = false

  async #ask(moment) {
    // Spans such as "the last hour" are counted from the moment that is shown.
    if (moment !== null && (this.#filters.since || this.#filters.until)) this.#clock = await this.#timeAt(moment)
    if (moment === momentShown()) await this.source.ask(query(this.#filters, this.#clockNow()), moment)
  }

  async #timeAt(moment) {
    if (!/^\d+$/.test(moment)) return millis(moment)
    return millis(await timeOf(Number(moment), this.#context.signal).catch(() => null)) || now()
  }

  #clockNow() {
    return this.#at === null ? now() : this.#clock
  }

  /** Whether the list may be read anew without moving a row that somebody points at. */
  #mayShift() {
    return !this.#isHovered && document.activeElement !== this.grid.element && this.grid.top < 2
  }

  async #rows() {
    const { source, grid } = this
    source.expected = total(this.#filters, source.counts) ?? 0
    this.problem.hidden = true
    if (!source.isLoading) grid.element.classList.remove("is-old")
    const active = this.#activeId === null ? -1 : source.indexOf(this.#activeId)
    if (active >= 0 && active !== grid.active) grid.active = active
    grid.resize(source.size, source.isComplete || source.expected > 0)
    grid.element.hidden = source.size === 0
    this.#showEmpty(source.size === 0)
    this.bar.update(this.#filters, source.counts)
    this.#note()
    grid.schedule()
    if (this.#missed && !source.isLoading && isQuick()) return this.update(this.#withMoment(), { quick: true })
    if (this.#at !== null && !source.isLoading && !isQuick()) {
      this.#clock = await this.#timeAt(String(source.pin))
      grid.schedule()
    }
  }

  #activeId = null

  #withMoment() {
    const params = new URLSearchParams(this.#params)
    params.set("at", momentShown())
    return params
  }

  #showEmpty(isEmpty) {
    this.empty.hidden = !isEmpty
    if (!isEmpty) return
    if (count(this.#filters) > 0) {
      return fill(
        this.empty,
        empty(
          "No job is like that",
          h(
            "span",
            {},
            this.#at === null ? "No job fits these filters." : "At this moment no job fitted these filters.",
          ),
          h("button", { type: "button", onclick: clear }, "Clear the filters"),
        ),
      )
    }
    fill(
      this.empty,
      this.#at === null
        ? empty(
            "There are no jobs yet",
            h("span", {}, "They appear here as soon as the first one is queued:"),
            h("code", {}, `jobledger append backtest-1 queued --data '{"name": "first", "total": 100}'`),
          )
        : empty("There were no jobs yet", h("span", {}, "The first job was queued after this moment.")),
    )
  }

  #note() {
    const { source } = this
    const amount = source.fresh.size
    const size =
      source.isComplete || source.expected > 0
        ? plural(source.size, "job")
        : `${number(source.length - 1)} jobs or more`
    const { sort, order } = this.#filters
    const sorted =
      sort === "ended" || sort === "updated"
        ? `, ${orders.find((one) => one[1] === sort && one[2] === (order || "desc"))?.[0] ?? `by ${sort}`}`
        : ""
    setText(
      this.summary,
      source.pin === null
        ? "Loading …"
        : `${size}${this.#at === null ? "" : ` at position ${number(source.pin)}`}${sorted}`,
    )
    const isPlain = count(this.#filters) === 0 && !this.#filters.sort
    this.fresh.hidden = amount === 0 || (this.#mayShift() && live.state === "live")
    setText(this.fresh, isPlain ? `${number(amount)} new` : `${number(amount)} new or changed`)
    this.fresh.title = "Show them (n)"
    if (source.size > this.grid.count)
      setText(
        this.late,
        `Only the first ${number(this.grid.count)} can be reached by scrolling. Filter for the others.`,
      )
    else setText(this.late, "")
  }

  #fail(error) {
    this.grid.element.classList.remove("is-old")
    this.problem.hidden = false
    fill(
      this.problem,
      problem(error, () => this.source.refresh()),
    )
    if (this.source.pin === null) setText(this.summary, "")
  }

  #draw(element, index) {
    const row = this.source.row(index)
    drawRow(element, row, { at: this.#clockNow(), silence: this.#filters.silence, rates: this.source.rates })
    if (index === this.grid.active) this.#activeId = row?.id ?? this.#activeId
    return row !== undefined
  }

  #tick() {
    // Running times and silences grow without an event.
    if (this.#at === null && !live.paused && !document.hidden) this.grid.schedule()
  }

  #open(index, event) {
    const row = this.source.row(index)
    if (!row) return
    const target = href(`/jobs/${segment(row.id)}`)
    if (event?.ctrlKey || event?.metaKey) return window.open(target, "_blank", "noopener")
    const url = new URL(target, location.origin)
    go(url.pathname, url.searchParams)
  }

  #sort(column) {
    const { sort, order } = this.#filters
    const present = sort || "queued"
    const first = column.sort === "name" ? "asc" : "desc"
    const ascending =
      present === column.sort ? (order || (present === "name" ? "asc" : "desc")) !== "asc" : first === "asc"
    const isUsual = column.sort === "queued" && !ascending
    change({ sort: isUsual ? null : column.sort, order: isUsual ? null : ascending ? "asc" : "desc" })
  }

  async #showNew() {
    this.grid.scrollTo(0)
    this.grid.active = -1
    this.#activeId = null
    this.source.look(0, 40)
    await this.source.refresh()
    this.#context.announce("The newest jobs are shown.")
  }
}

export default {
  title: (params) => {
    const { status } = read(params)
    return status.length > 0 ? `Jobs: ${status.join(", ")}` : "Jobs"
  },
  async mount(root, context) {
    await stylesheet("jobs")
    const view = new JobsView(root, context)
    return { update: (params, options) => view.update(params, options) }
  },
}
