// A job's row, value by value, with the event that set each value: it shows when the pointer rests
// on the value, or the focus.
import { get, segment } from "../core/api.js"
import { fill, h } from "../core/dom.js"
import { fullTime, number, timeElement } from "../core/format.js"
import { pretty } from "../core/json.js"
import { members } from "./raw-json.js"

const times = new Set(["created_at", "updated_at", "completed_at", "started_at", "last_recorded_at"])
/** What other parts of the page show, or what only the list of jobs needs. */
const hidden = new Set([
  "queued_position",
  "last_position",
  "last_version",
  "last_recorded_at",
  "started_at",
  "actor",
  "position",
])
const links = new Set(["view_url", "csv_url"])
const short = 90

export class RowPanel {
  /** The last answer, and the row and moment that it is of. */
  blame = { key: null, answer: null }
  shown = { key: null, at: null, source: null }
  target = null

  /** `reveal(position)` goes to an event. */
  constructor({ job, signal, reveal }) {
    Object.assign(this, { job, signal, reveal })
    this.tip = h("div", { class: "tip-box", role: "tooltip", id: "blame-tip", hidden: true })
    this.list = h("dl", { class: "row-values" })
    this.root = h(
      "section",
      { class: "panel row-panel", "aria-labelledby": "row-title" },
      h(
        "header",
        {},
        h("h2", { id: "row-title" }, "Values"),
        h("span", { class: "muted small" }, "rest on a value to see who set it"),
      ),
      h("div", { class: "body" }, this.list),
      this.tip,
    )
  }

  ask() {
    if (this.blame.key !== this.shown.key) {
      const answer = get(`/v1/jobs/${segment(this.job)}/blame`, { at: this.shown.at }, { signal: this.signal })
      this.blame = { key: this.shown.key, answer }
      answer.catch(() => {
        if (this.blame.answer === answer) this.blame = { key: null, answer: null }
      })
    }
    return this.blame.answer
  }

  async showTip(element, column) {
    this.target = element
    this.place(element)
    fill(this.tip, h("span", { class: "muted" }, "Looking who set it"))
    this.tip.hidden = false
    try {
      const { value } = await this.ask()
      if (this.target !== element) return
      const event = value.columns[column]
      fill(this.tip, event?.position ? who(event) : "No event has set this value: it is the default.")
    } catch (error) {
      if (this.target === element) fill(this.tip, error.detail ?? error.message)
    }
    this.place(element)
  }

  hide(element) {
    if (this.target !== element) return
    this.target = null
    this.tip.hidden = true
  }

  /** Below the value, within the panel. */
  place(element) {
    const [box, around] = [element.getBoundingClientRect(), this.root.getBoundingClientRect()]
    this.tip.style.left = `${Math.max(8, Math.min(box.left - around.left, around.width - this.tip.offsetWidth - 8))}px`
    this.tip.style.top = `${box.bottom - around.top + 4}px`
  }

  async press(column) {
    const { value } = await this.ask().catch(() => ({ value: null }))
    const position = value?.columns[column]?.position
    if (position) this.reveal(position)
  }

  valueOf(name, json) {
    const value = json.startsWith("{") || json.startsWith("[") ? null : JSON.parse(json)
    const attributes = {
      type: "button",
      class: "value",
      "aria-describedby": "blame-tip",
      onclick: () => this.press(name),
      onfocus: event => this.showTip(event.currentTarget, name),
      onblur: event => this.hide(event.currentTarget),
      onpointerenter: event => this.showTip(event.currentTarget, name),
      onpointerleave: event => document.activeElement !== event.currentTarget && this.hide(event.currentTarget),
      onkeydown: event => event.key === "Escape" && this.hide(event.currentTarget),
    }
    if (times.has(name) && value) return h("button", attributes, timeElement(value, fullTime(value)))
    if (links.has(name) && isAddress(value)) {
      const link = h("a", { class: "name", href: value, rel: "noopener noreferrer" }, "open")
      return h("div", {}, h("button", attributes, h("span", { class: "name" }, value)), link)
    }
    if (json === "null") return h("button", { ...attributes, class: "value none" }, "null")
    if (typeof value === "string" && value.length <= 400)
      return h("button", attributes, h("span", { class: "name" }, value))
    // A number as it stands in the answer, so that no digit is lost.
    if (value !== null && typeof value !== "string")
      return h("button", attributes, /^-?\d+$/.test(json) ? number(asNumber(json)) : json)
    const text = typeof value === "string" ? value : json
    if (text.length <= short) return h("button", attributes, h("span", { class: "name" }, text))
    const block = () =>
      h(
        "pre",
        { class: "json", tabIndex: 0, role: "region", "aria-label": name },
        cut(typeof value === "string" ? text : pretty(json)),
      )
    const whole = h("details", { "data-column": name }, h("summary", { class: "small" }, "show all"))
    whole.addEventListener("toggle", () => whole.open && whole.children.length === 1 && whole.append(block()))
    return h("div", {}, h("button", attributes, h("span", { class: "name" }, summary(text))), whole)
  }

  /** Draws the row `source`, as the service sent it. Values that are the same stay as they are. */
  show(source, { at, position }) {
    if (this.shown.source !== source) {
      const before = new Map([...this.list.children].map(row => [row.dataset.column, row]))
      const rows = members(source)
        .filter(([name]) => !hidden.has(name))
        .map(([name, json]) => {
          const known = before.get(name)
          return known?.json === json ? known : this.row(name, json)
        })
      const focused = this.list.contains(document.activeElement)
        ? document.activeElement.closest("div[data-column]")
        : null
      for (const [index, row] of rows.entries()) {
        const present = this.list.children[index]
        if (present === row) continue
        if (present) present.replaceWith(row)
        else this.list.append(row)
      }
      while (this.list.children.length > rows.length) this.list.lastChild.remove()
      if (focused && !focused.isConnected) {
        this.list.querySelector(`div[data-column="${CSS.escape(focused.dataset.column)}"] button`)?.focus()
      }
    }
    if (this.target && !this.target.isConnected) this.hide(this.target)
    this.shown = { key: `${at} ${position}`, at, source }
  }

  row(name, json) {
    const row = h("div", { "data-column": name }, h("dt", {}, name), h("dd", {}, this.valueOf(name, json)))
    row.json = json
    return row
  }
}

/** Whether a text is an address of the web: one of another kind, such as javascript:, is not followed. */
function isAddress(text) {
  try {
    return typeof text === "string" && ["http:", "https:"].includes(new URL(text, location.origin).protocol)
  } catch {
    return false
  }
}

function asNumber(json) {
  const value = Number(json)
  return Number.isSafeInteger(value) ? value : json
}

function summary(text) {
  return text.length > short ? `${text.slice(0, short)}… (${number(text.length)} characters)` : text
}

function cut(text) {
  return text.length > 200_000 ? `${text.slice(0, 200_000)}\n… (${number(text.length)} characters)` : text
}

function who(event) {
  return [
    h("strong", {}, event.type),
    ` at position ${number(event.position)}`,
    h("br"),
    event.actor ? ["by ", h("span", { class: "name" }, String(event.actor))] : "the actor was not said",
    h("br"),
    "recorded ",
    fullTime(event.recorded_at),
    event.occurred_at && [h("br"), "happened ", fullTime(event.occurred_at)],
    h("br"),
    h("span", { class: "muted" }, "press to see the event"),
  ]
}
