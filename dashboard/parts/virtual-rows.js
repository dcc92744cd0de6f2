// A table that draws only the rows that can be seen. Rows have one height; the scroll bar and the
// row numbers are those of the whole.
import { fill, h } from "../core/dom.js"

export const rowHeight = 28
const spare = 8

/**
 * `columns` are `{id, title, class, sortable}`; `cell(row, column)` gives a cell's content, `sort(id)`
 * is called by the headers. `show({rows, columns, sorted: {column, isDescending}})` draws.
 */
export class VirtualTable {
  shown = { rows: [], columns: [] }
  range = [-1, -1]
  #frame = null

  constructor({ label, cell, sort, rowProps = () => ({}) }) {
    Object.assign(this, { cell, sort, rowProps })
    const gap = () => h("tr", { class: "gap", "aria-hidden": "true" }, h("td"))
    this.head = h("tr")
    this.body = h("tbody")
    this.above = gap()
    this.below = gap()
    this.table = h("table", { class: "table virtual" }, h("thead", {}, this.head), this.body)
    const scroll = () => this.schedule()
    this.root = h(
      "div",
      { class: "virtual-scroll", tabIndex: 0, role: "region", "aria-label": label, onscroll: scroll },
      this.table,
    )
    new ResizeObserver(scroll).observe(this.root)
  }

  schedule() {
    this.#frame ??= requestAnimationFrame(() => {
      this.#frame = null
      this.drawRows()
    })
  }

  drawHead() {
    const { columns, sorted } = this.shown
    this.table.setAttribute("aria-rowcount", this.shown.rows.length + 1)
    // The focus stays on the header that was pressed.
    const focused = this.head.contains(document.activeElement) ? document.activeElement.dataset.column : null
    fill(
      this.head,
      columns.map(column =>
        h(
          "th",
          {
            scope: "col",
            class: column.class ?? "",
            "aria-sort": sorted?.column === column.id ? (sorted.isDescending ? "descending" : "ascending") : null,
          },
          h(
            "button",
            { type: "button", "data-column": column.id, onclick: () => this.sort(column.id) },
            h("span", { class: "name" }, column.title),
          ),
        ),
      ),
    )
    if (focused) this.head.querySelector(`[data-column="${CSS.escape(focused)}"]`)?.focus()
  }

  drawRows(isForced = false) {
    const { rows, columns } = this.shown
    const first = Math.max(0, Math.floor(this.root.scrollTop / rowHeight) - spare)
    const last = Math.min(rows.length, Math.ceil((this.root.scrollTop + this.root.clientHeight) / rowHeight) + spare)
    if (!isForced && first === this.range[0] && last === this.range[1]) return
    this.range = [first, last]
    this.above.firstChild.style.height = `${first * rowHeight}px`
    this.below.firstChild.style.height = `${(rows.length - last) * rowHeight}px`
    for (const gap of [this.above, this.below]) gap.firstChild.colSpan = Math.max(1, columns.length)
    fill(
      this.body,
      this.above,
      rows.slice(first, last).map((row, index) =>
        h(
          "tr",
          { "data-index": first + index, "aria-rowindex": first + index + 2, ...this.rowProps(row) },
          columns.map(column => h("td", { class: column.class ?? "" }, this.cell(row, column))),
        ),
      ),
      this.below,
    )
  }

  show(next) {
    const { sorted } = this.shown
    const isOther = next.sorted?.column !== sorted?.column || next.sorted?.isDescending !== sorted?.isDescending
    this.shown = next
    if (isOther) this.root.scrollTop = 0
    this.drawHead()
    this.drawRows(true)
  }
}
