// Why an event happened, and what followed from it.
import { get } from "../core/api.js"
import { link } from "../core/address.js"
import { fill, h } from "../core/dom.js"
import { number, timeElement } from "../core/format.js"
import { problem } from "./problem.js"

/** A link to the stream of an entry of the audit trail. */
export function streamLink(entry) {
  if (entry.job !== undefined)
    return h("span", { class: "name" }, link(`/jobs/${encodeURIComponent(entry.job)}`, {}, entry.job))
  return h("span", { class: "name" }, `${entry.category} ${entry.stream}`)
}

/** An element that asks for the causes and consequences of an event, and shows them. */
export function why(position, { signal }) {
  const root = h(
    "section",
    { class: "why", "aria-label": `Why position ${position} happened` },
    h("p", { class: "muted" }, "Looking for causes"),
  )
  const load = async () => {
    try {
      const { value } = await get(`/v1/audit/events/${position}/why`, {}, { signal })
      fill(root, parts(value))
    } catch (error) {
      if (!signal.aborted) fill(root, problem(error, load))
    }
  }
  load()
  return root
}

function parts({ event, causes, outside_cause: outside, circular, consequences, more }) {
  const nothing = causes.length === 0 && !outside && consequences.length === 0
  return [
    h("h3", {}, "Why"),
    event.correlation_id &&
      h(
        "p",
        {},
        "Belongs to ",
        h("code", { class: "name" }, event.correlation_id),
        " · ",
        link("/audit", { correlation_id: event.correlation_id }, "all events of it"),
      ),
    outside && h("p", {}, "Caused by something outside the ledger: ", h("code", { class: "name" }, outside)),
    causes.length > 0 && [
      h("p", { class: "muted" }, "Caused by"),
      h(
        "ol",
        { class: "chain" },
        causes.map(cause => item(cause, 0)),
      ),
    ],
    circular && h("p", { class: "bad-text" }, "The causes form a circle: somebody has stated them so."),
    consequences.length > 0 && [
      h("p", { class: "muted" }, "What followed"),
      h(
        "ol",
        { class: "chain" },
        consequences.map(({ depth, event }) => item(event, depth - 1)),
      ),
    ],
    more && h("p", { class: "muted" }, "There are more consequences than are shown."),
    nothing && h("p", { class: "muted" }, "The event names no cause, and no event names it as its cause."),
  ]
}

function item(event, depth) {
  const line = h(
    "li",
    {},
    link("/audit", { event: event.position, from: event.position, to: event.position }, `#${number(event.position)}`),
    " ",
    h("strong", {}, event.type),
    " ",
    streamLink(event),
    " ",
    event.actor && h("span", { class: "name" }, `by ${event.actor}`),
    " ",
    timeElement(event.recorded_at),
    event.detail && h("span", { class: "muted name" }, ` ${event.detail}`),
  )
  line.style.paddingLeft = `${Math.min(depth, 8) * 16}px`
  return line
}
