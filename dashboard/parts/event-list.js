// The events of a job, page by page, newest or oldest first. The page is in the address: `ev` is the
// position of its first event, `evtype` and `evorder` choose, `event` is the one that is open.
import { get } from "../core/api.js"
import { change, here } from "../core/address.js"
import { fill, h, setText } from "../core/dom.js"
import { millis, number, timeElement } from "../core/format.js"
import { eventDetails } from "./event-details.js"
import { empty, problem } from "./problem.js"

const pageSize = 25
const columns = [["Position"], ["Version", "number"], ["Event"], ["Says"], ["Who"], ["Recorded"], ["Happened"]]
const types = ["queued", "progress", "truncated", "finished", "failed"]

export class EventList {
  state = { key: "", events: [], asked: null }
  opened = null

  constructor({ job, signal, announce }) {
    Object.assign(this, { job, signal, announce })
    this.body = h("tbody")
    this.message = h("div")
    this.info = h("span", { class: "muted" })
    const select = (name, label, options, changes) => {
      const onchange = event => change({ ...changes(event.target.value), ev: null, event: null }, { replace: true })
      const menu = h(
        "select",
        { name, onchange },
        options.map(([value, text]) => h("option", { value }, text)),
      )
      return [menu, h("label", { class: "field inline" }, h("span", { class: "visually-hidden" }, label), menu)]
    }
    const allTypes = [["", "all types"], ...types.map(name => [name, name])]
    const [type, typeField] = select("evtype", "Type", allTypes, value => ({ evtype: value }))
    const orders = ["newest", "oldest"].map(name => [name, `${name} first`])
    const [order, orderField] = select("evorder", "Order", orders, value => ({
      evorder: value === "oldest" ? value : null,
    }))
    Object.assign(this, { type, order })
    this.root = h(
      "section",
      { class: "panel", "aria-labelledby": "events-title" },
      h(
        "header",
        {},
        h("h2", { id: "events-title" }, "Events"),
        this.info,
        h("span", { class: "spacer" }),
        typeField,
        orderField,
      ),
      this.makeTable(),
      this.message,
      this.makePager(),
    )
  }

  makeTable() {
    this.table = h(
      "table",
      { class: "table events" },
      h("caption", { class: "visually-hidden" }, "Events of the job"),
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          columns.map(([text, cls]) => h("th", { scope: "col", class: cls ?? "" }, text)),
        ),
      ),
      this.body,
    )
    return h("div", { class: "table-scroll", tabIndex: 0, role: "region", "aria-label": "List of events" }, this.table)
  }

  makePager() {
    const button = (text, title, run) => h("button", { type: "button", title, "aria-label": title, onclick: run }, text)
    this.first = button("⇤", "The first page", () => change({ ev: null, event: null }, { replace: true }))
    this.newer = button("← Back", "Back to the page before", () => this.back())
    this.older = button("Next →", "Next page", () => this.next())
    this.last = button("⇥", "The last page", () => this.toLast())
    return h("footer", { class: "toolbar pager" }, this.first, this.newer, this.older, this.last)
  }

  /** What the address asks for. */
  asked(params) {
    return {
      order: params.get("evorder") === "oldest" ? "oldest" : "newest",
      type: params.get("evtype") || null,
      from: /^\d+$/.test(params.get("ev") ?? "") ? Number(params.get("ev")) : null,
      at: params.get("at"),
    }
  }

  /** Events of the trail in an order, from a position on; `after` leaves that one out. */
  async page(order, { type, at }, { from = null, after = null } = {}) {
    const cursor = from === null ? after : order === "newest" ? from + 1 : from - 1
    const query = {
      job: this.job,
      type,
      order,
      limit: pageSize,
      to: at,
      after: cursor !== null && cursor > 0 ? cursor : null,
    }
    const { value } = await get("/v1/audit/events", query, { signal: this.signal })
    return value.events
  }

  async load(params, { isQuiet = false } = {}) {
    const wanted = this.asked(params)
    const key = JSON.stringify(wanted)
    if (key === this.state.key && !isQuiet) return this.open(params)
    this.wanted = key
    if (!isQuiet) this.table.classList.add("loading")
    try {
      const events = await this.page(wanted.order, wanted, { from: wanted.from })
      if (key !== this.wanted) return
      const { events: before } = this.state
      const isSame = isQuiet && events.length === before.length && events[0]?.position === before[0]?.position
      this.state = { key, events, asked: wanted }
      if (!isSame) this.draw()
      this.open(params)
    } catch (error) {
      if (!this.signal.aborted && !isQuiet)
        fill(
          this.message,
          problem(error, () => this.load(here().params)),
        )
    }
    if (key === this.wanted) this.table.classList.remove("loading")
  }

  draw() {
    const { events, asked } = this.state
    this.type.value = asked.type ?? ""
    this.order.value = asked.order
    this.opened = null
    fill(
      this.message,
      events.length === 0 && empty("No events", asked.type ? "of this type, here." : "at this moment."),
    )
    fill(
      this.body,
      events.map(event => this.row(event)),
    )
    this.first.disabled = this.newer.disabled = asked.from === null
    this.older.disabled = this.last.disabled = events.length < pageSize
    const versions = events.map(event => event.version)
    const range = () => `versions ${number(Math.min(...versions))} to ${number(Math.max(...versions))}`
    setText(this.info, events.length === 0 ? "" : range())
  }

  row(event) {
    const more = h(
      "button",
      {
        type: "button",
        class: "quiet disclose",
        "aria-expanded": "false",
        "aria-label": `Position ${event.position}: details`,
      },
      number(event.position),
    )
    const none = text => h("span", { class: "none" }, text)
    const line = h(
      "tr",
      { "data-position": event.position, class: "event-row" },
      h("td", {}, more),
      h("td", { class: "number" }, number(event.version)),
      h("td", {}, h("span", { class: "event-type", "data-type": event.type }, event.type)),
      h("td", { class: "says name" }, event.detail ?? ""),
      h("td", { class: "name" }, event.actor ?? none("not said")),
      h("td", {}, timeElement(event.recorded_at)),
      h("td", {}, event.occurred_at ? [timeElement(event.occurred_at), skew(event)] : none("–")),
    )
    line.addEventListener("click", clicked => {
      if (clicked.target.closest("a") || String(getSelection()) !== "") return
      const isOpen = here().params.get("event") === String(event.position)
      change({ event: isOpen ? null : event.position }, { replace: true })
    })
    return line
  }

  /** Opens the event that the address names, where it is on this page. */
  open(params) {
    const wanted = params.get("event")
    if (this.opened?.position === wanted && this.opened.details.isConnected) return
    if (this.opened) {
      this.opened.details.remove()
      this.opened.line.querySelector(".disclose").setAttribute("aria-expanded", "false")
      this.opened = null
    }
    const event = this.state.events.find(one => String(one.position) === wanted)
    if (!event) return
    const line = this.body.querySelector(`tr[data-position="${event.position}"]`)
    line.querySelector(".disclose").setAttribute("aria-expanded", "true")
    const { signal, announce } = this
    const details = h(
      "tr",
      { class: "details-row" },
      h("td", { colSpan: columns.length }, eventDetails(event, { signal, announce })),
    )
    line.after(details)
    this.opened = { position: wanted, line, details }
  }

  next() {
    const { events, asked } = this.state
    const start = events.at(-1).position + (asked.order === "newest" ? -1 : 1)
    if (start > 0) change({ ev: start, event: null }, { replace: true })
  }

  async back() {
    const { events, asked } = this.state
    const before = await this.page(reverse(asked.order), asked, { after: events[0]?.position ?? asked.from }).catch(
      () => [],
    )
    change({ ev: before.length < pageSize ? null : before.at(-1).position, event: null }, { replace: true })
  }

  async toLast() {
    const { asked } = this.state
    const end = await this.page(reverse(asked.order), asked).catch(() => [])
    if (end.length > 0) change({ ev: end.at(-1).position, event: null }, { replace: true })
  }

  /** Reads the first page again, where that is what is shown and nothing is open. */
  refresh() {
    const { asked } = this.state
    if (asked && asked.from === null && !this.opened && asked.order === "newest")
      this.load(here().params, { isQuiet: true })
  }

  /** Shows the event at a position, and opens it. */
  reveal(position) {
    change({ ev: position, event: position, evtype: null, evorder: null }, { replace: true })
    this.root.scrollIntoView({ block: "start" })
  }
}

function reverse(order) {
  return order === "newest" ? "oldest" : "newest"
}

/** How far the caller's clock is from the ledger's, where that is worth a word. */
function skew(event) {
  const seconds = Math.round((millis(event.occurred_at) - millis(event.recorded_at)) / 1000)
  return Math.abs(seconds) >= 60
    ? h("span", { class: "muted small" }, ` ${seconds > 0 ? "+" : "−"}${number(Math.abs(seconds))} s`)
    : null
}
