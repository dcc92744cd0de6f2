// A table of thousands of rows of one height, of which only the visible ones are in the document.

import { h } from "../core/dom.js"

const overscan = 8
// Firefox draws nothing beyond 17,895,697 pixels.
const tallest = 16_000_000

/**
 * `columns`: [{key, label, sort, class}]. `make()` returns a row's element without its role, and
 * `draw(element, index)` fills it and returns whether the row is there. `open(index, event)`.
 */
export class Grid {
  active = -1
  rowHeight = 34
  /** How far the rows are scrolled, without asking for a layout. */
  top = 0

  #rows = new Map()
  #free = []
  #count = 0
  #isKnown = true
  #height = 0
  #frame = null
  #options

  constructor(options) {
    this.#options = options
    this.id = options.id
    this.head = h(
      "div",
      { role: "row", class: "grid-row grid-head", "aria-rowindex": 1 },
      options.columns.map((column, index) => this.#header(column, index)),
    )
    this.body = h("div", { role: "rowgroup", class: "grid-body" })
    this.element = h(
      "div",
      {
        role: "grid",
        class: "grid",
        tabIndex: 0,
        "aria-label": options.label,
        "aria-colcount": options.columns.length,
        onscroll: () => {
          this.top = this.element.scrollTop
          options.onScroll?.()
          this.schedule()
        },
        onkeydown: (event) => this.#key(event),
        onclick: (event) => this.#click(event),
      },
      h("div", { role: "rowgroup", class: "grid-top" }, this.head),
      this.body,
    )
    this.#observer = new ResizeObserver(() => this.measure())
    this.#observer.observe(this.element)
  }

  #observer

  destroy() {
    this.#observer.disconnect()
    cancelAnimationFrame(this.#frame)
  }

  #header(column, index) {
    const label = column.sort
      ? h("button", { type: "button", onclick: () => this.#options.sort(column) }, column.label)
      : h("span", {}, column.label)
    return h(
      "div",
      { role: "columnheader", class: ["cell", column.class], "aria-colindex": index + 1, "data-key": column.key },
      label,
    )
  }

  /** Shows by which column the rows are sorted. */
  showSort(key, isAscending) {
    for (const cell of this.head.children) {
      if (cell.dataset.key === key) cell.setAttribute("aria-sort", isAscending ? "ascending" : "descending")
      else cell.removeAttribute("aria-sort")
    }
  }

  measure() {
    this.#height = this.element.clientHeight - this.head.offsetHeight
    const height = Number.parseFloat(getComputedStyle(this.element).getPropertyValue("--row-height")) || 34
    if (height !== this.rowHeight) {
      this.rowHeight = height
      this.resize(this.#count, this.#isKnown)
    }
    this.schedule()
  }

  /** How many rows there are, and whether that is all. */
  resize(count, isKnown) {
    const size = `${count} ${isKnown} ${this.rowHeight}`
    if (size === this.#size) return this.schedule()
    this.#size = size
    this.#count = Math.min(count, Math.floor(tallest / this.rowHeight))
    this.#isKnown = isKnown
    this.body.style.height = `${this.#count * this.rowHeight}px`
    this.element.setAttribute("aria-rowcount", isKnown ? count + 1 : -1)
    if (this.active >= this.#count) this.activate(this.#count - 1, { scroll: false })
    this.schedule()
  }

  get count() {
    return this.#count
  }

  /** The visible rows. */
  get range() {
    const first = Math.floor(this.top / this.rowHeight)
    return [first, Math.min(this.#count, first + Math.ceil(Math.max(this.#height, 0) / this.rowHeight) + 1)]
  }

  /** Draws in the next frame. */
  schedule() {
    this.#frame ??= requestAnimationFrame(() => {
      this.#frame = null
      this.#draw()
    })
  }

  #draw() {
    const [first, last] = this.range
    const [from, to] = [Math.max(0, first - overscan), Math.min(this.#count, last + overscan)]
    this.#options.look(from, to)
    for (const [index, row] of this.#rows) {
      if (index >= from && index < to) continue
      this.#rows.delete(index)
      this.#free.push(row)
    }
    for (let index = from; index < to; index += 1) {
      let row = this.#rows.get(index)
      if (!row) {
        row = this.#free.pop() ?? this.#make()
        row.index = index
        row.element.style.transform = `translateY(${index * this.rowHeight}px)`
        row.element.setAttribute("aria-rowindex", index + 2)
        row.element.hidden = false
        this.#rows.set(index, row)
      }
      this.#options.draw(row.element, index)
      this.#mark(row)
    }
    for (const row of this.#free.splice(40)) row.element.remove()
    for (const row of this.#free) row.element.hidden = true
    const isShown = this.#rows.has(this.active)
    if (isShown) this.element.setAttribute("aria-activedescendant", this.#rows.get(this.active).element.id)
    else this.element.removeAttribute("aria-activedescendant")
  }

  #make() {
    const element = this.#options.make()
    element.id = `${this.id}-${this.#made++}`
    element.setAttribute("role", "row")
    this.body.append(element)
    return { element, index: -1 }
  }

  #made = 0
  #size = ""

  #mark({ element, index }) {
    const isActive = index === this.active
    if (element.classList.contains("is-active") !== isActive) {
      element.classList.toggle("is-active", isActive)
      if (isActive) element.setAttribute("aria-selected", "true")
      else element.removeAttribute("aria-selected")
    }
  }

  /** Makes a row the active one, -1 for none. */
  activate(index, { scroll = true } = {}) {
    this.active = this.#count === 0 ? -1 : Math.max(-1, Math.min(index, this.#count - 1))
    if (scroll && this.active >= 0) this.#reveal(this.active)
    this.#options.onActive?.(this.active)
    this.schedule()
  }

  #reveal(index) {
    const top = index * this.rowHeight
    if (top < this.top) this.scrollTo(top)
    else if (top + this.rowHeight > this.top + this.#height) this.scrollTo(top + this.rowHeight - this.#height)
  }

  scrollTo(top) {
    this.element.scrollTop = top
    this.top = this.element.scrollTop
    this.schedule()
  }

  /** Moves the active row. */
  step(by) {
    if (document.activeElement !== this.element) this.element.focus({ preventScroll: true })
    this.activate(this.active < 0 ? this.range[0] : Math.max(0, this.active + by))
  }

  #key(event) {
    if (
      event.target !== this.element ||
      (event.ctrlKey && !["Home", "End"].includes(event.key)) ||
      event.metaKey ||
      event.altKey
    )
      return
    const page = Math.max(1, Math.floor(this.#height / this.rowHeight) - 1)
    const moves = {
      ArrowDown: () => this.step(1),
      ArrowUp: () => this.step(-1),
      PageDown: () => this.step(page),
      PageUp: () => this.step(-page),
      Home: () => this.activate(0),
      End: () => this.activate(this.#count - 1),
      Enter: () => this.active >= 0 && this.#options.open(this.active, event),
    }
    if (!moves[event.key]) return
    event.preventDefault()
    moves[event.key]()
  }

  #click(event) {
    const element = event.target.closest(".grid-body > .grid-row")
    if (!element || event.target.closest("a, button")) return
    const row = [...this.#rows.values()].find((one) => one.element === element)
    if (!row || getSelection().toString() !== "") return
    this.activate(row.index, { scroll: false })
    this.#options.open(row.index, event)
  }
}
