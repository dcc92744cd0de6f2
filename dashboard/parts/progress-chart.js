// Progress over time as a chart that is also read by keyboard, and as a table.
import { fill, h, setText } from "../core/dom.js"
import { fullTime, number, plural } from "../core/format.js"
import { perPixel } from "./series.js"
import { tickTime, ticks, timeTicks } from "./scale.js"

const margin = { top: 12, right: 16, bottom: 26, left: 62 }
const height = 220
const tableRows = 200

/** `show({points, events, total, end, isSample, isLoading})` draws; see `Series` for the points. */
export class ProgressChart {
  data = null
  drawn = []
  scale = null
  selected = null
  width = 0
  #frame = null

  constructor() {
    this.plot = h("div", {
      class: "chart",
      tabIndex: 0,
      role: "slider",
      "aria-label": "Progress over time: the arrow keys go through the events",
      "aria-valuemin": 1,
      onkeydown: event => this.press(event),
      onpointermove: event => this.pointAt(event),
      onpointerleave: () => this.select(null),
      onblur: () => this.select(null),
    })
    this.readout = h("p", { class: "chart-readout muted" })
    const open = () => this.table.open && this.fillTable()
    this.table = h("details", { class: "chart-table", ontoggle: open }, h("summary", {}, "As a table"), h("div"))
    this.root = h("figure", { class: "progress-figure" }, this.plot, this.readout, this.table)
    // The width comes from the observer: asking for it would make the browser lay out the page.
    new ResizeObserver(([entry]) => {
      this.width = entry.contentRect.width
      this.schedule()
    }).observe(this.plot)
  }

  schedule() {
    this.#frame ??= requestAnimationFrame(() => {
      this.#frame = null
      if (this.data && this.width > 0) this.draw()
    })
  }

  draw() {
    const { width } = this
    this.scale = scales(this.data, width)
    this.drawn = perPixel(this.data.points, point => this.scale.x(point.time))
    const svg = h("svg", { viewBox: `0 0 ${width} ${height}`, width, height, "aria-hidden": "true" })
    svg.append(
      axes(this.scale, width),
      line(this.drawn, this.scale, this.data),
      marks(this.drawn, this.scale),
      h("g", { class: "cursor" }),
    )
    fill(this.plot, svg)
    this.plot.setAttribute("aria-valuemax", Math.max(1, this.drawn.length))
    if (this.selected !== null) this.selected = Math.min(this.selected, this.drawn.length - 1)
    this.showSelected()
    if (this.table.open) this.fillTable()
  }

  select(index) {
    this.selected = index
    this.showSelected()
  }

  showSelected() {
    const cursor = this.plot.querySelector(".cursor")
    if (!cursor || !this.data) return
    cursor.replaceChildren()
    const index = this.selected ?? this.drawn.length - 1
    const point = this.drawn[index]
    this.plot.setAttribute("aria-valuenow", Math.max(1, index + 1))
    this.plot.setAttribute("aria-valuetext", point ? inWords(point) : "no event")
    if (this.selected === null || !point) return setText(this.readout, summary(this.data))
    const [x, y] = [this.scale.x(point.time), this.scale.y(point.reached)]
    cursor.append(
      h("line", { x1: x, x2: x, y1: margin.top, y2: height - margin.bottom }),
      h("circle", { cx: x, cy: y, r: 4.5 }),
    )
    setText(this.readout, inWords(point))
  }

  press(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1, PageDown: 20, PageUp: -20, ArrowUp: 1, ArrowDown: -1 }[event.key]
    const last = this.drawn.length - 1
    if (event.key === "Home") this.select(0)
    else if (event.key === "End") this.select(last)
    else if (event.key === "Escape") this.select(null)
    else if (step) this.select(Math.max(0, Math.min(last, (this.selected ?? last) + step)))
    else return
    event.preventDefault()
  }

  pointAt(event) {
    if (!this.scale || this.drawn.length === 0) return
    const x = event.clientX - this.plot.getBoundingClientRect().left
    let nearest = 0
    for (const [index, one] of this.drawn.entries()) {
      if (Math.abs(this.scale.x(one.time) - x) < Math.abs(this.scale.x(this.drawn[nearest].time) - x)) nearest = index
    }
    this.select(nearest)
  }

  fillTable() {
    if (!this.data) return
    const step = Math.max(1, Math.ceil(this.data.points.length / tableRows))
    const rows = this.data.points.filter(
      (one, index) => one.type !== "progress" || index % step === 0 || index === this.data.points.length - 1,
    )
    fill(
      this.table.lastChild,
      h(
        "div",
        { class: "table-scroll chart-rows", tabIndex: 0, role: "region", "aria-label": "Progress as a table" },
        h(
          "table",
          { class: "table" },
          h(
            "thead",
            {},
            h(
              "tr",
              {},
              ["Time", "Event", "Completed", "Total", "Position"].map((name, index) =>
                h("th", { scope: "col", class: index > 1 ? "number" : "" }, name),
              ),
            ),
          ),
          h(
            "tbody",
            {},
            rows
              .slice(0, 2 * tableRows)
              .map(one =>
                h(
                  "tr",
                  {},
                  h("td", {}, fullTime(one.time)),
                  h("td", {}, one.type),
                  h("td", { class: "number" }, number(one.completed)),
                  h("td", { class: "number" }, one.total ? number(one.total) : "–"),
                  h("td", { class: "number" }, number(one.position)),
                ),
              ),
          ),
        ),
      ),
    )
  }

  show(data) {
    this.data = data
    if (this.selected === null) setText(this.readout, summary(data))
    this.schedule()
  }
}

function inWords(point) {
  const of = point.total ? ` of ${number(point.total)}` : ""
  const done =
    point.completed === null || point.completed === undefined ? "" : `: ${number(point.completed)}${of} completed`
  return `${fullTime(point.time)}  ·  ${point.type}${done}  ·  position ${number(point.position)}`
}

function summary({ points, events, isSample, isLoading }) {
  if (points.length === 0) return isLoading ? "Reading the events." : "No event yet."
  if (!isSample) return `${plural(events, "event")}. Point at the chart, or use its arrow keys, to read a value.`
  return (
    `${number(points.length)} of ${number(events)} events, evenly spaced by version. ` +
    "The largest number completed so far is drawn."
  )
}

function scales({ points, total, end }, width) {
  const start = points[0]?.time ?? end ?? 0
  const last = Math.max(end ?? 0, points.at(-1)?.time ?? 0, start + 1)
  const most = Math.max(1, total ?? 0, ...points.map(point => Math.max(point.reached, point.total ?? 0)))
  const [w, b] = [width - margin.left - margin.right, height - margin.bottom]
  return {
    start,
    end: last,
    most,
    x: time => margin.left + (w * (time - start)) / (last - start),
    y: value => b - ((b - margin.top) * value) / most,
  }
}

function axes(scale, width) {
  const group = h("g", { class: "axes" })
  for (const value of ticks(0, scale.most, 4)) {
    if (!Number.isInteger(value)) continue
    const y = scale.y(value)
    group.append(
      h("line", { x1: margin.left, x2: width - margin.right, y1: y, y2: y }),
      h("text", { x: margin.left - 8, y: y + 4, "text-anchor": "end" }, number(value)),
    )
  }
  const { values, step } = timeTicks(scale.start, scale.end, Math.max(2, Math.floor(width / 130)))
  for (const time of values) {
    const x = scale.x(time)
    group.append(
      h("line", { x1: x, x2: x, y1: height - margin.bottom, y2: height - margin.bottom + 4 }),
      h(
        "text",
        { x: Math.min(x, width - 2), y: height - 7, "text-anchor": x > width - 40 ? "end" : "middle" },
        tickTime(time, step),
      ),
    )
  }
  return group
}

function line(drawn, scale, { total }) {
  const group = h("g", { class: "plot" })
  if (total > 0) {
    const y = scale.y(total)
    group.append(h("line", { class: "total", x1: scale.x(scale.start), x2: scale.x(scale.end), y1: y, y2: y }))
  }
  if (drawn.length === 0) return group
  // Between two events nothing is known to have changed, so the line has steps.
  let path = `M${scale.x(drawn[0].time).toFixed(1)} ${scale.y(drawn[0].reached).toFixed(1)}`
  for (const point of drawn.slice(1)) path += `H${scale.x(point.time).toFixed(1)}V${scale.y(point.reached).toFixed(1)}`
  const end = scale.x(scale.end).toFixed(1)
  group.append(
    h("path", { class: "area", d: `${path}H${end}V${scale.y(0)}H${scale.x(drawn[0].time).toFixed(1)}Z` }),
    h("path", { class: "line", d: `${path}H${end}` }),
  )
  return group
}

function marks(drawn, scale) {
  const group = h("g", { class: "marks" })
  for (const point of drawn) {
    if (point.type === "progress" || point.type === "queued") continue
    const [x, y] = [scale.x(point.time), scale.y(point.reached)]
    const path =
      point.type === "truncated"
        ? `M${x} ${y}v-16h10l-3 4 3 4h-10`
        : point.type === "failed"
          ? `M${x - 5} ${y - 5}l10 10M${x + 5} ${y - 5}l-10 10`
          : `M${x - 6} ${y}l4 5 8-10`
    group.append(h("path", { d: path, "data-type": point.type }, h("svg:title", {}, point.type)))
  }
  return group
}
