// A metric over two variables as a grid of colours. The value of the cell under the pointer, or
// under the cursor that the arrow keys move, stands below in words; the same grid is a table, too.
import { fill, h, setText } from "../core/dom.js"
import { plural } from "../core/format.js"
import { aggregates, brief, shown } from "./runs-model.js"
import { colourAt, css, inkOn } from "./scale.js"

const margin = { top: 4, right: 6, bottom: 44, left: 66 }
/** A larger table would take the browser long to lay out. */
const mostTableCells = 12_000

/** `show({heat, x, y, metric, aggregate, isSeveral})` draws what `heat` of runs-model.js has computed. */
export class HeatMap {
  data = null
  cursor = null
  size = null
  width = 0
  #frame = null
  #left = new AbortController()

  /** `onRun(run)` is called when the cell of a run is chosen. */
  constructor({ onRun }) {
    this.onRun = onRun
    this.canvas = h("canvas", { "aria-hidden": "true" })
    this.mark = h("div", { class: "heat-cursor", hidden: true })
    this.plot = h(
      "div",
      {
        class: "heat",
        tabIndex: 0,
        role: "application",
        "aria-roledescription": "heat map",
        onkeydown: event => this.press(event),
        onpointermove: event => this.point(event),
        onpointerleave: () => this.leave(),
        onclick: () => this.choose(),
        onfocus: () => this.cursor || (this.data && this.move(0, 0)),
        onblur: () => this.leave(),
      },
      this.canvas,
      this.mark,
    )
    this.readout = h("p", { class: "chart-readout", "aria-live": "polite" })
    this.legend = h("div", { class: "heat-legend" })
    const open = () => this.table.open && this.fillTable()
    this.table = h("details", { class: "chart-table", ontoggle: open }, h("summary", {}, "As a table"), h("div"))
    this.root = h("figure", { class: "heat-figure" }, this.legend, this.plot, this.readout, this.table)
    // The width comes from the observer: asking for it would make the browser lay out the page.
    new ResizeObserver(([entry]) => {
      this.width = entry.contentRect.width
      this.schedule()
    }).observe(this.plot)
    const { signal } = this.#left
    window.addEventListener("theme", () => this.schedule(), { signal })
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.schedule(), { signal })
  }

  schedule() {
    this.#frame ??= requestAnimationFrame(() => {
      this.#frame = null
      if (this.data && this.width > 0) this.draw()
    })
  }

  draw() {
    this.size = fit(this.data.heat, this.width)
    const scale = window.devicePixelRatio || 1
    this.canvas.width = this.size.width * scale
    this.canvas.height = this.size.height * scale
    this.canvas.style.width = `${this.size.width}px`
    this.canvas.style.height = `${this.size.height}px`
    const context = this.canvas.getContext("2d")
    context.scale(scale, scale)
    paint(context, this.data, this.size, getComputedStyle(this.plot))
    this.fillLegend()
    this.showCursor()
    if (this.table.open) this.fillTable()
  }

  fillLegend() {
    const { heat, metric, aggregate, isSeveral } = this.data
    const bar = h("canvas", { width: 256, height: 1, class: "heat-ramp", "aria-hidden": "true" })
    const context = bar.getContext("2d")
    for (let x = 0; x < 256; x++) {
      context.fillStyle = css(colourAt(x / 255))
      context.fillRect(x, 0, 1, 1)
    }
    const isEmpty = !(heat.most >= heat.least)
    fill(
      this.legend,
      h("span", { class: "name" }, metric),
      h("span", { class: "muted" }, isSeveral ? ` (${aggregates[aggregate].text} where a cell has several runs)` : ""),
      !isEmpty &&
        h(
          "span",
          { class: "heat-scale" },
          h("span", {}, brief(heat.least)),
          h("span", { class: "ramp" }, bar, h("i", { class: "heat-needle", hidden: true })),
          h("span", {}, brief(heat.most)),
        ),
      h("span", { class: "heat-missing" }, h("i"), "no run"),
    )
  }

  showCursor() {
    const cell = this.cursor && this.data?.heat.cells[this.cursor.row]?.[this.cursor.column]
    this.mark.hidden = !this.cursor
    const needle = this.legend.querySelector(".heat-needle")
    if (needle) needle.hidden = !cell
    if (!this.cursor || !this.size) return setText(this.readout, this.hint())
    const { x, y, width, height } = this.size.cell(this.cursor.column, this.cursor.row)
    const { style } = this.mark
    Object.assign(style, { transform: `translate(${x}px, ${y}px)`, width: `${width}px`, height: `${height}px` })
    if (needle && cell) needle.style.left = `${100 * share(this.data.heat, cell.value)}%`
    setText(this.readout, this.inWords(this.cursor, cell))
  }

  hint() {
    if (!this.data) return ""
    const { xs, ys } = this.data.heat
    const count = xs.length * ys.length
    return `${plural(count, "cell")}. Point at a cell, or move with the arrow keys, to read its value.`
  }

  inWords({ row, column }, cell) {
    const { heat, x, y, metric, aggregate } = this.data
    const place = `${x} ${shown(heat.xs[column])}` + (y === null ? "" : `, ${y} ${shown(heat.ys[row])}`)
    if (!cell) return `${place}: no run with a number`
    const of = cell.runs === 1 ? "run" : `${aggregates[aggregate].text} of ${plural(cell.runs, "run")}, run`
    const run = cell.run
      ? ` (${of} ${cell.run.run_index})`
      : ` (${aggregates[aggregate].text} of ${plural(cell.runs, "run")})`
    // All digits, where one run has the value.
    return `${place}: ${metric} ${cell.run ? shown(cell.run.metrics[metric]) : brief(cell.value)}${run}`
  }

  move(row, column) {
    const { xs, ys } = this.data.heat
    const within = (place, count) => Math.max(0, Math.min(count - 1, place))
    this.cursor = { row: within(row, ys.length), column: within(column, xs.length) }
    this.showCursor()
  }

  press(event) {
    if (!this.data || !this.data.heat.xs.length) return
    const { row, column } = this.cursor ?? { row: 0, column: 0 }
    const { xs, ys } = this.data.heat
    // The first row is at the bottom.
    const steps = {
      ArrowRight: [row, column + 1],
      ArrowLeft: [row, column - 1],
      ArrowUp: [row + 1, column],
      ArrowDown: [row - 1, column],
      Home: [row, 0],
      End: [row, xs.length - 1],
      PageUp: [ys.length - 1, column],
      PageDown: [0, column],
    }
    if (event.key === "Enter") this.choose()
    else if (steps[event.key]) this.move(...steps[event.key])
    else return
    event.preventDefault()
    event.stopPropagation()
  }

  point(event) {
    const box = this.plot.getBoundingClientRect()
    const place = this.size?.at(event.clientX - box.left, event.clientY - box.top)
    if (place) this.move(place.row, place.column)
  }

  leave() {
    if (document.activeElement === this.plot) return
    this.cursor = null
    this.showCursor()
  }

  choose() {
    const run = this.cursor && this.data.heat.cells[this.cursor.row][this.cursor.column]?.run
    if (run) this.onRun(run)
  }

  fillTable() {
    const { heat, x, y, metric } = this.data
    const place = this.table.lastChild
    if (heat.xs.length * heat.ys.length > mostTableCells) {
      return fill(place, h("p", { class: "muted" }, "There are too many cells for a table: take the CSV."))
    }
    fill(
      place,
      h(
        "div",
        { class: "table-scroll chart-rows", tabIndex: 0, role: "region", "aria-label": `${metric} as a table` },
        h(
          "table",
          { class: "table" },
          h("caption", { class: "visually-hidden" }, `${metric} by ${x}${y === null ? "" : ` and ${y}`}`),
          h(
            "thead",
            {},
            h(
              "tr",
              {},
              h("th", { scope: "col" }, y === null ? "" : `${y} \\ ${x}`),
              heat.xs.map(value => h("th", { scope: "col", class: "number" }, shown(value))),
            ),
          ),
          h(
            "tbody",
            {},
            heat.ys.map((value, row) =>
              h(
                "tr",
                {},
                h("th", { scope: "row" }, y === null ? metric : shown(value)),
                heat.cells[row].map(cell => h("td", { class: "number" }, cell ? brief(cell.value) : "–")),
              ),
            ),
          ),
        ),
      ),
    )
  }

  show(data) {
    const isOther = this.data && (this.data.x !== data.x || this.data.y !== data.y)
    this.data = data
    if (isOther) this.cursor = null
    const over = data.y === null ? data.x : `${data.x} and ${data.y}`
    this.plot.setAttribute("aria-label", `${data.metric} over ${over}: the arrow keys move from cell to cell`)
    this.schedule()
  }

  end() {
    this.#left.abort()
  }
}

function share({ least, most }, value) {
  return most > least ? (value - least) / (most - least) : 0.5
}

/** Where the cells are: as wide as the place, and not flatter than can be pointed at. */
function fit({ xs, ys }, width) {
  const [columns, rows] = [Math.max(1, xs.length), Math.max(1, ys.length)]
  const inner = Math.max(60, width - margin.left - margin.right)
  const cellWidth = Math.min(64, inner / columns)
  const cellHeight = Math.max(Math.min(28, 420 / rows), rows > 200 ? 2 : 4)
  const bottom = margin.top + cellHeight * rows
  return {
    width,
    height: bottom + margin.bottom,
    cellWidth,
    cellHeight,
    columns,
    rows,
    bottom,
    cell: (column, row) => ({
      x: margin.left + column * cellWidth,
      y: bottom - (row + 1) * cellHeight,
      width: cellWidth,
      height: cellHeight,
    }),
    at(x, y) {
      const column = Math.floor((x - margin.left) / cellWidth)
      const row = Math.floor((bottom - y) / cellHeight)
      return column >= 0 && column < columns && row >= 0 && row < rows ? { column, row } : null
    },
  }
}

function paint(context, { heat, x, y }, size, style) {
  const [text, line] = [style.getPropertyValue("--muted"), style.getPropertyValue("--line-strong")]
  context.font = `11px ${style.fontFamily}`
  for (let row = 0; row < heat.ys.length; row++) {
    for (let column = 0; column < heat.xs.length; column++) {
      const cell = heat.cells[row][column]
      const place = size.cell(column, row)
      const gap = place.width > 5 && place.height > 5 ? 1 : 0
      if (!cell) {
        missing(context, place, gap, line)
        continue
      }
      const colour = colourAt(share(heat, cell.value))
      context.fillStyle = css(colour)
      context.fillRect(place.x, place.y, place.width - gap + (gap ? 0 : 0.5), place.height - gap + (gap ? 0 : 0.5))
      const label = brief(cell.value)
      if (place.width > 44 && place.height > 17 && context.measureText(label).width < place.width - 6) {
        context.fillStyle = inkOn(colour)
        context.textAlign = "center"
        context.fillText(label, place.x + place.width / 2, place.y + place.height / 2 + 4)
      }
    }
  }
  labels(context, heat, size, text, x, y)
}

/** A stroke across the cell, which no colour of the scale has. */
function missing(context, { x, y, width, height }, gap, line) {
  context.strokeStyle = line
  context.globalAlpha = 0.55
  context.lineWidth = 0.75
  context.beginPath()
  context.moveTo(x, y + height - gap)
  context.lineTo(x + width - gap, y)
  context.stroke()
  context.globalAlpha = 1
}

function labels(context, { xs, ys }, size, text, x, y) {
  context.fillStyle = text
  context.textAlign = "center"
  const fits = (values, room) => {
    const widest = Math.max(1, ...values.map(value => context.measureText(cut(value)).width))
    return Math.max(1, Math.ceil((widest + 10) / room))
  }
  const step = fits(xs, size.cellWidth)
  xs.forEach((value, column) => {
    if (column % step === 0) context.fillText(cut(value), size.cell(column, 0).x + size.cellWidth / 2, size.bottom + 15)
  })
  context.font = `600 ${context.font}`
  context.fillText(cut(x, 60), margin.left + (size.columns * size.cellWidth) / 2, size.bottom + 34)
  context.font = context.font.replace(/^\S+ /, "")
  if (y === null) return
  context.textAlign = "right"
  const rows = Math.max(1, Math.ceil(14 / size.cellHeight))
  ys.forEach((value, row) => {
    if (row % rows === 0)
      context.fillText(cut(value, 8), margin.left - 6, size.cell(0, row).y + size.cellHeight / 2 + 4)
  })
  context.save()
  context.translate(11, margin.top + (size.rows * size.cellHeight) / 2)
  context.rotate(-Math.PI / 2)
  context.textAlign = "center"
  context.font = `600 ${context.font}`
  context.fillText(cut(y, 40), 0, 0)
  context.restore()
}

function cut(value, most = 14) {
  const text = typeof value === "string" ? value : shown(value)
  return text.length > most ? `${text.slice(0, most - 1)}…` : text
}
