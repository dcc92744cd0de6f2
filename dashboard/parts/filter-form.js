// The fields of the filters that the table of jobs and the timeline share.

import { change, here } from "../core/address.js"
import { h } from "../core/dom.js"
import { secondTime } from "../core/format.js"
import { duration } from "../core/moment.js"
import { kinds, orders, toggle, usualOverdue } from "./job-filters.js"

const spans = [
  ["", "any time"],
  ["1h", "the last hour"],
  ["24h", "the last 24 hours"],
  ["7d", "the last 7 days"],
  ["30d", "the last 30 days"],
]

/** The value of a field of the kind datetime-local for a time of the address. */
export function localTime(text) {
  return text === "" || duration(text) !== null || Number.isNaN(Date.parse(text))
    ? ""
    : secondTime(text).replace(" ", "T")
}

function absolute(value) {
  return value === "" ? null : new Date(value).toISOString()
}

const field = (label, control, hint) => h("label", { class: "field", title: hint ?? "" }, h("span", {}, label), control)
const select = (name, options) =>
  h(
    "select",
    { name, onchange: (event) => change({ [name]: event.target.value }) },
    options.map(([value, text]) => h("option", { value }, text)),
  )
const text = (name, placeholder) =>
  h("input", {
    name,
    placeholder,
    spellcheck: false,
    onchange: (event) => change({ [name]: event.target.value.trim() }),
  })
const adding = (name, placeholder) =>
  h("input", {
    name,
    placeholder,
    spellcheck: false,
    onchange: (event) => {
      const value = event.target.value.trim()
      event.target.value = ""
      if (value !== "" && !here().params.getAll(name).includes(value)) toggle(here().params, name, value)
    },
  })

const moment = (name) =>
  h("input", {
    type: "datetime-local",
    step: 1,
    name: `${name}-time`,
    onchange: (event) => change({ [name]: absolute(event.target.value) }),
  })

function orderSelect() {
  const order = h(
    "select",
    {
      name: "order",
      onchange: () => {
        const [, sort, wanted] = orders[Number(order.value)] ?? orders[0]
        change({ sort, order: wanted })
      },
    },
    orders.map(([words], index) => h("option", { value: index }, words)),
    h("option", { value: -1, hidden: true }, "by a column"),
  )
  return order
}

/** The form; `update(filters)` shows those of the address. */
export function filterForm(withOverdue) {
  const since = select("since", [...spans, ["custom", "from …"]])
  const [from, until] = [moment("since"), moment("until")]
  since.addEventListener(
    "change",
    (event) => {
      // "from …" is no value of the address: it leads to the field for it.
      if (since.value !== "custom") return
      event.stopImmediatePropagation()
      from.focus()
    },
    { capture: true },
  )
  const order = orderSelect()
  const fields = {
    kind: select("kind", [["", "any"], ...kinds.map((kind) => [kind, kind])]),
    actor: text("actor", "the exact name"),
    truncated: select("truncated", [
      ["", "any"],
      ["true", "truncated"],
      ["false", "not truncated"],
    ]),
    overdue: text("overdue", usualOverdue),
  }
  const form = h(
    "form",
    { id: "filters", class: "filters", hidden: true, onsubmit: (event) => event.preventDefault() },
    field("Kind", fields.kind),
    field("Actor", fields.actor),
    field(
      "Variable",
      adding("variable", "NAME or NAME:VALUE"),
      "Jobs that have this variable, or a value of it. Enter adds it.",
    ),
    field(
      "Metadata",
      adding("metadata", "KEY:VALUE"),
      "Jobs whose first event has this in its metadata. Enter adds it.",
    ),
    field("Queued", since),
    field("Queued from", from),
    field("Queued until", until),
    field("Truncated", fields.truncated),
    field("Order", order),
    withOverdue &&
      field(
        "Overdue after",
        fields.overdue,
        "An open job that has said nothing for this long stands out: 90s, 15m, 2h, 1d",
      ),
  )
  form.update = (filters) => {
    for (const [name, control] of Object.entries(fields))
      if (document.activeElement !== control) control.value = filters[name]
    order.value = orders.findIndex(([, sort, wanted]) => sort === filters.sort && wanted === filters.order)
    if (spans.some(([value]) => value === filters.since)) since.value = filters.since
    else since.value = "custom"
    from.value = localTime(filters.since)
    until.value = localTime(filters.until)
  }
  return form
}
