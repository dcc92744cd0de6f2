// Who did what, why, and what was refused; and the proofs, which this browser checks itself. What is
// shown is in the address: show (events, refusals, proof), the filters, order, and after.
import { get } from "../core/api.js"
import { change, here } from "../core/address.js"
import { fill, h, setText, stylesheet } from "../core/dom.js"
import { number, plural, timeElement } from "../core/format.js"
import { live } from "../core/live.js"
import { eventDetails } from "../parts/event-details.js"
import { empty, problem } from "../parts/problem.js"
import { proofPanel } from "../parts/proof-box.js"
import { streamLink } from "../parts/why.js"
import { witnessPanel } from "../parts/witness-panel.js"

const pageSize = 50
const events = [
  ["actor", "Actor"],
  ["category", "Category"],
  ["type", "Type"],
  ["job", "Job or stream"],
  ["text", "Words"],
  ["correlation_id", "Belongs to"],
  ["from", "From position, time"],
  ["to", "To position, time"],
]
const refusals = [
  ["actor", "Actor"],
  ["token", "Token"],
  ["category", "Category"],
  ["job", "Job or stream"],
  ["code", "Code"],
]
const columns = {
  events: ["Position", "Recorded", "Actor", "Did", "Of", "Says", "Source"],
  refusals: ["Last", "Times", "Code", "Who", "Token", "Tried", "Of", "Why"],
}
const tabs = [
  ["events", "Who did what"],
  ["refusals", "Refusals"],
  ["proof", "Proofs"],
]

class AuditView {
  constructor(root, context) {
    Object.assign(this, { context, signal: context.signal, announce: context.announce })
    this.tabs = h(
      "nav",
      { class: "toolbar tabs", "aria-label": "Parts of the audit" },
      tabs.map(([name, text]) =>
        h("button", { type: "button", "data-tab": name, onclick: () => this.open(name) }, text),
      ),
    )
    this.count = h("span", { class: "muted", role: "status" })
    this.body = h("div", { class: "stack audit-body" })
    fill(
      root,
      h("div", { class: "page audit" }, h("header", {}, h("h1", {}, "Audit"), this.tabs, this.count), this.body),
    )
    this.tab = null
  }

  open(name) {
    const keep = ["actor", "category", "job"].map(filter => [filter, here().params.get(filter)])
    const none = Object.fromEntries([...here().params.keys()].filter(key => key !== "at").map(key => [key, null]))
    change({ ...none, ...(name === "proof" ? {} : Object.fromEntries(keep)), show: name === "events" ? null : name })
  }

  show(params) {
    const tab = tabs.some(([name]) => name === params.get("show")) ? params.get("show") : "events"
    for (const button of this.tabs.children) button.setAttribute("aria-pressed", String(button.dataset.tab === tab))
    if (tab !== this.tab) {
      this.tab = tab
      setText(this.count, "")
      this.part = tab === "proof" ? this.proof(params) : new Trail(this, tab)
    }
    this.part.show?.(params)
  }

  proof(params) {
    const { signal, announce } = this
    fill(
      this.body,
      witnessPanel({ signal, announce }),
      proofPanel({ signal, announce, params, remember: choice => change(choice, { replace: true }) }),
    )
    return {}
  }
}

/** A list of the trail, or of refusals, with its filters. */
class Trail {
  constructor(view, kind) {
    Object.assign(this, { view, kind, signal: view.signal })
    this.filters = kind === "events" ? events : refusals
    const input = name =>
      h("input", {
        name,
        type: "text",
        size: name === "from" || name === "to" ? 20 : 14,
        autocomplete: "off",
        spellcheck: false,
      })
    this.inputs = new Map(this.filters.map(([name]) => [name, input(name)]))
    this.order = h(
      "select",
      { name: "order", onchange: () => this.submit() },
      ["newest", "oldest"].map(value => h("option", { value }, `${value} first`)),
    )
    this.list = h("tbody")
    this.message = h("div")
    this.fresh = h("button", {
      type: "button",
      class: "primary",
      hidden: true,
      onclick: () => this.load(here().params),
    })
    this.pager = h("footer", { class: "toolbar pager" })
    fill(view.body, this.form(), this.panel())
    if (kind === "events") live.subscribe(found => this.note(found), { signal: this.signal })
  }

  form() {
    const submit = event => {
      event.preventDefault()
      this.submit()
    }
    return h(
      "form",
      { class: "panel", onsubmit: submit, role: "search" },
      h(
        "div",
        { class: "body toolbar filters" },
        this.filters.map(([name, text]) => h("label", { class: "field" }, h("span", {}, text), this.inputs.get(name))),
        h("label", { class: "field" }, h("span", {}, "Order"), this.order),
        h(
          "div",
          { class: "toolbar" },
          h("button", { type: "submit", class: "primary" }, "Find"),
          h("button", { type: "button", class: "quiet", onclick: () => this.clear() }, "Clear"),
        ),
      ),
    )
  }

  panel() {
    const name = this.kind === "events" ? "Events" : "Refusals"
    const head = columns[this.kind].map(text =>
      h("th", { scope: "col", class: text === "Times" ? "number" : "" }, text),
    )
    const table = h(
      "table",
      { class: "table trail" },
      h("caption", { class: "visually-hidden" }, name),
      h("thead", {}, h("tr", {}, head)),
      this.list,
    )
    return h(
      "section",
      { class: "panel", "aria-label": name },
      this.fresh,
      h("div", { class: "table-scroll", tabIndex: 0, role: "region", "aria-label": "The list" }, table),
      this.message,
      this.pager,
    )
  }

  /** What the form says becomes the address. If it is that already, the list is read anew. */
  submit() {
    const before = location.href
    const values = [...this.inputs].map(([name, input]) => [name, input.value.trim() || null])
    const order = this.order.value === "oldest" ? "oldest" : null
    change({ ...Object.fromEntries(values), order, after: null, event: null })
    if (location.href !== before) return
    this.key = null
    this.load(here().params)
  }

  clear() {
    change({ ...Object.fromEntries(this.filters.map(([name]) => [name, null])), order: null, after: null, event: null })
  }

  /** New events do not move what somebody reads: a button offers them. */
  note(found) {
    if (
      this.view.part !== this ||
      here().params.get("after") ||
      here().params.get("order") === "oldest" ||
      here().params.get("at")
    )
      return
    this.waiting = (this.waiting ?? 0) + found.length
    setText(this.fresh, `${plural(this.waiting, "new event")}: show`)
    this.fresh.hidden = false
  }

  show(params) {
    for (const [name, input] of this.inputs) if (document.activeElement !== input) input.value = params.get(name) ?? ""
    this.order.value = params.get("order") === "oldest" ? "oldest" : "newest"
    this.load(params)
  }

  query(params) {
    const query = { limit: pageSize, order: params.get("order"), after: params.get("after") }
    for (const [name] of this.filters) query[name] = params.get(name)
    // The past has no later events.
    if (this.kind === "events" && params.get("at") && !query.to) query.to = params.get("at")
    return query
  }

  async load(params) {
    const query = this.query(params)
    const key = JSON.stringify(query)
    if (key === this.key && this.answer && !this.waiting) return this.openRow(params)
    this.waiting = 0
    this.fresh.hidden = true
    try {
      const { value } = await get(`/v1/audit/${this.kind}`, query, { signal: this.signal })
      if (JSON.stringify(this.query(here().params)) !== key && !params.get("at")) return
      this.key = key
      this.answer = value
      this.draw(value, params)
    } catch (error) {
      if (this.signal.aborted) return
      fill(this.list)
      fill(
        this.message,
        problem(error, () => this.load(here().params)),
      )
    }
  }

  draw(value, params) {
    const rows = value[this.kind]
    this.opened = null
    const isFiltered = this.filters.some(([name]) => params.get(name)) || params.get("after")
    const [none, yet] =
      this.kind === "events" ? ["No such event", "No event yet"] : ["No such refusal", "Nothing was refused"]
    fill(this.message, rows.length === 0 && (isFiltered ? empty(none, "with these filters.") : empty(yet)))
    fill(
      this.list,
      rows.map(row => (this.kind === "events" ? this.event(row) : refusal(row))),
    )
    setText(this.view.count, `${plural(rows.length, this.kind === "events" ? "event" : "refusal")} on this page`)
    const after = value.next && new URL(value.next, location.origin).searchParams.get("after")
    fill(
      this.pager,
      h(
        "button",
        { type: "button", disabled: !params.get("after"), onclick: () => change({ after: null, event: null }) },
        "⇤ First page",
      ),
      h("button", { type: "button", disabled: !params.get("after"), onclick: () => history.back() }, "← Back"),
      h("button", { type: "button", disabled: !after, onclick: () => change({ after, event: null }) }, "Next →"),
    )
    this.openRow(params)
  }

  event(entry) {
    const line = h(
      "tr",
      { class: "event-row", "data-position": entry.position },
      h(
        "td",
        {},
        h(
          "button",
          {
            type: "button",
            class: "quiet disclose",
            "aria-expanded": "false",
            "aria-label": `Position ${entry.position}: details`,
          },
          number(entry.position),
        ),
      ),
      h("td", {}, timeElement(entry.recorded_at)),
      h(
        "td",
        { class: "name" },
        entry.actor ? this.filter("actor", entry.actor) : h("span", { class: "none" }, "not said"),
      ),
      h("td", {}, h("span", { class: "event-type", "data-type": entry.type }, entry.type)),
      h("td", {}, streamLink(entry)),
      h("td", { class: "says name" }, entry.detail ?? ""),
      h("td", { class: "name" }, entry.source ?? ""),
    )
    line.addEventListener("click", event => {
      if (event.target.closest("a, [data-filter]") || String(getSelection()) !== "") return
      const isOpen = here().params.get("event") === String(entry.position)
      change({ event: isOpen ? null : entry.position }, { replace: true })
    })
    return line
  }

  filter(name, value) {
    return h(
      "button",
      {
        type: "button",
        class: "quiet as-text",
        "data-filter": name,
        title: `Only ${name} ${value}`,
        onclick: () => change({ [name]: value, after: null, event: null }),
      },
      value,
    )
  }

  openRow(params) {
    if (this.kind !== "events") return
    const wanted = params.get("event")
    if (this.opened?.position === wanted && this.opened.details.isConnected) return
    if (this.opened) {
      this.opened.details.remove()
      this.opened.line.querySelector(".disclose").setAttribute("aria-expanded", "false")
      this.opened = null
    }
    const entry = this.answer.events.find(one => String(one.position) === wanted)
    if (!entry) return
    const line = this.list.querySelector(`tr[data-position="${entry.position}"]`)
    line.querySelector(".disclose").setAttribute("aria-expanded", "true")
    const details = h(
      "tr",
      { class: "details-row" },
      h("td", { colSpan: 7 }, eventDetails(entry, { signal: this.signal, announce: this.view.announce })),
    )
    line.after(details)
    this.opened = { position: wanted, line, details }
  }
}

function refusal(one) {
  const of =
    one.job === null ? "" : one.category === null || one.category === "job" ? one.job : `${one.category} ${one.job}`
  return h(
    "tr",
    {},
    h("td", {}, timeElement(one.last_at)),
    h("td", { class: "number" }, number(one.times)),
    h("td", {}, h("code", {}, one.code)),
    h("td", { class: "name" }, one.actor ?? h("span", { class: "none" }, "not said")),
    h(
      "td",
      { class: "name" },
      one.token
        ? [one.token_name ?? one.token, h("div", { class: "muted small" }, one.peer ?? "")]
        : (one.peer ?? h("span", { class: "none" }, "none")),
    ),
    h(
      "td",
      { class: "name" },
      `${one.method ?? ""} ${one.path ?? ""}`,
      one.type && h("div", { class: "muted small" }, one.type),
    ),
    h("td", { class: "name" }, of),
    h("td", { class: "name" }, one.detail ?? ""),
  )
}

export default {
  title: params => ({ refusals: "Refusals", proof: "Proofs" })[params.get("show")] ?? "Audit",
  async mount(root, context) {
    await Promise.all([stylesheet("job"), stylesheet("proof"), stylesheet("audit")])
    const view = new AuditView(root, context)
    view.show(context.params)
    return { update: (params, { quick } = {}) => quick || view.show(params) }
  },
}
