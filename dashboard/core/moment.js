// The moment that the page shows: now, or a position or time of the past.

import { change, here } from "./address.js"
import { get } from "./api.js"

let preview = null
let previewTime = NaN

/** The moment as text, a position or a time; `null` is now. While the time bar is dragged, its quick picture. */
export function at() {
  return preview ?? here().params.get("at") ?? null
}

/** Whether the time bar is being dragged, so that a rough picture is enough. */
export function isQuick() {
  return preview !== null
}

/** Parameters of a request, with `at` if the past is shown. */
export function params(extra) {
  const moment = at()
  return moment === null ? { ...extra } : { ...extra, at: moment }
}

/** About when the quick picture was, in milliseconds. */
export function quickTime() {
  return preview === null ? NaN : previewTime
}

/** Shows a moment for as long as the time bar is dragged; `null` ends that. */
export function show(position, time = NaN) {
  preview = position === null ? null : String(position)
  previewTime = time
  window.dispatchEvent(new Event("moment"))
}

/** Goes to a moment; `null` is now. */
export function set(position, options) {
  const before = preview === null ? null : location.href
  preview = null
  change({ at: position === null ? null : String(position) }, options)
  // The address may have been that all along, while a quick picture was shown.
  if (location.href === before) window.dispatchEvent(new Event("moment"))
}

/** Parses a duration such as 15m, 24h or 1h30m into milliseconds; `null` if it is none. */
export function duration(text) {
  const units = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 }
  if (!/^(\d+(\.\d+)?(ms|[smhdw]))+$/.test(text ?? "")) return null
  let sum = 0
  for (const [, amount, , unit] of text.matchAll(/(\d+(\.\d+)?)(ms|[smhdw])/g)) sum += Number(amount) * units[unit]
  return sum
}

const times = new Map()
const kept = 200

/** When a position was recorded, as text; `null` for a position that the log does not have. */
export async function timeOf(position, signal) {
  if (times.has(position)) return times.get(position)
  if (position < 1) return null
  const { value } = await get(
    "/v1/audit/events",
    { order: "oldest", after: position > 1 ? position - 1 : null, limit: 1 },
    { signal },
  )
  const time = value.events[0]?.recorded_at ?? null
  if (time !== null) noteTime(position, time)
  return time
}

/** Remembers when a position was recorded, where an answer has said it. */
export function noteTime(position, time) {
  times.delete(position)
  times.set(position, time)
  if (times.size > kept) times.delete(times.keys().next().value)
}
