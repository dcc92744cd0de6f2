// One event with everything it says: data and metadata byte for byte, who, both clocks, causes and
// consequences, and its proof.
import { get, segment } from "../core/api.js"
import { fill, h } from "../core/dom.js"
import { fullTime, number } from "../core/format.js"
import { pretty } from "../core/json.js"
import { elements, member, members } from "./raw-json.js"
import { problem } from "./problem.js"
import { proofOfEvent } from "./proof-box.js"
import { why } from "./why.js"

/** Longer data are shown in part until one asks for all: a browser lays out megabytes slowly. */
const mostShown = 60_000
const standard = new Set([
  "specversion",
  "id",
  "source",
  "type",
  "subject",
  "time",
  "position",
  "streamversion",
  "recordedtime",
  "total",
  "datacontenttype",
  "data",
  "dataref",
])

/** `entry` is one of the audit trail: `{position, version, type, job | category, stream, …}`. */
export function eventDetails(entry, { signal, announce }) {
  const content = h("div", { class: "event-content" }, h("p", { class: "muted" }, "Reading the event"))
  const [causes, proof] = [h("div"), h("div")]
  const load = async () => {
    try {
      const event = await read(entry, signal)
      fill(content, facts(entry, event), data(event))
      fill(proof, proofOfEvent({ ...entry, data: event.data }, { signal, announce }))
    } catch (error) {
      if (!signal.aborted) fill(content, problem(error, load))
    }
  }
  load()
  fill(causes, why(entry.position, { signal }))
  return h("div", { class: "event-details" }, content, h("div", { class: "event-side" }, causes, proof))
}

/** The event as it stands in the service's answer: `{source, data}`, both JSON texts. */
async function read(entry, signal) {
  const path =
    entry.job !== undefined
      ? `/v1/jobs/${segment(entry.job)}/events`
      : `/v1/streams/${segment(entry.category)}/${segment(entry.stream)}/events`
  const { source } = await get(path, { after: entry.version - 1, limit: 1 }, { signal })
  const event = elements(member(source, "events"))[0]
  if (event === undefined) throw new Error("The event is not where it should be.")
  return { source: event, data: member(event, "data") ?? "null" }
}

function facts(entry, { source }) {
  const extra = members(source).filter(([name]) => !standard.has(name))
  const text = json => (json.startsWith('"') ? JSON.parse(json) : json)
  const rows = [
    ["Who", entry.actor ?? "not said"],
    ["Recorded", `${fullTime(entry.recorded_at)} (${entry.recorded_at}), by the ledger's clock`],
    [
      "Happened",
      entry.occurred_at
        ? `${fullTime(entry.occurred_at)} (${entry.occurred_at}), by the caller's clock`
        : "the caller gave no time",
    ],
    ["Position", `${number(entry.position)}, version ${number(entry.version)}`],
    ["Event id", entry.event_id],
    ...(entry.source ? [["From", entry.source]] : []),
    ...extra.filter(([name]) => name !== "actor").map(([name, value]) => [name, text(value)]),
  ]
  return h(
    "dl",
    { class: "facts" },
    rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", { class: "name" }, value))),
  )
}

function data(event) {
  const text = pretty(event.data)
  const block = h("pre", { class: "json", tabIndex: 0, role: "region", "aria-label": "Data as they were sent" })
  const isLong = text.length > mostShown
  block.textContent = isLong ? `${text.slice(0, mostShown)}\n…` : text
  const copy = h(
    "button",
    { type: "button", class: "quiet", onclick: () => navigator.clipboard?.writeText(event.data) },
    "Copy",
  )
  const all =
    isLong &&
    h(
      "button",
      {
        type: "button",
        onclick: clicked => {
          block.textContent = text
          clicked.target.remove()
        },
      },
      `Show all ${number(text.length)} characters`,
    )
  return h(
    "section",
    {},
    h(
      "div",
      { class: "toolbar" },
      h("h3", {}, "Data"),
      h("span", { class: "muted small" }, "every digit as it was sent; only line breaks are added"),
      h("span", { class: "spacer" }),
      all,
      copy,
    ),
    block,
  )
}
