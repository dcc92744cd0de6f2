// Which jobs a view shows. The names in the address are those of the API.

import { change } from "../core/address.js"
import { now } from "../core/clock.js"
import { duration } from "../core/moment.js"

export const states = ["queued", "running", "finished", "failed"]
export const kinds = ["server", "local"]
const single = ["kind", "actor", "q", "since", "until", "truncated", "sort", "order", "overdue"]
const repeated = ["status", "variable", "metadata"]
export const names = [...repeated, ...single.filter((name) => !["sort", "order", "overdue"].includes(name))]

/** Orders that a view offers: the words, and the parameters. */
export const orders = [
  ["newest first", "", ""],
  ["oldest first", "queued", "asc"],
  ["started last", "started", "desc"],
  ["ended last", "ended", "desc"],
  ["longest", "took", "desc"],
  ["shortest", "took", "asc"],
  ["by name", "name", "asc"],
  ["by name, backwards", "name", "desc"],
  ["heard of last", "updated", "desc"],
  ["silent for longest", "updated", "asc"],
]

/** Jobs that have said nothing for this long are overdue, unless the address says otherwise. */
export const usualOverdue = "15m"

/** The filters of an address. */
export function read(params) {
  const filters = {}
  for (const name of single) filters[name] = params.get(name) ?? ""
  for (const name of repeated) filters[name] = params.getAll(name)
  filters.silence = duration(filters.overdue) ?? duration(usualOverdue)
  return filters
}

/** A time of the address: RFC 3339, or a duration before the moment shown ("24h"). */
function moment(text, at) {
  const before = duration(text)
  return before === null ? text : new Date(at - before).toISOString()
}

/** The parameters of `GET /v1/jobs`. `at` is the time that is shown, in milliseconds. */
export function query(filters, at = now()) {
  const { overdue, silence, since, until, sort, order, ...rest } = filters
  const asked = { ...rest, since: moment(since, at), until: moment(until, at) }
  if ((sort !== "" && !(sort === "queued" && order !== "asc")) || order === "asc") {
    Object.assign(asked, { sort: sort || "queued", order: order || (sort === "name" ? "asc" : "desc") })
  }
  return asked
}

/** How many filters are set. */
export function count(filters) {
  return names.reduce(
    (sum, name) => sum + (Array.isArray(filters[name]) ? filters[name].length : filters[name] === "" ? 0 : 1),
    0,
  )
}

/** Whether only states are filtered by, so that the counts tell how many jobs there are. */
export function onlyStates(filters) {
  return count(filters) === filters.status.length
}

/** How many jobs there are by the counts, where they can tell. */
export function total(filters, counts) {
  if (!counts || !onlyStates(filters)) return null
  return (filters.status.length > 0 ? [...new Set(filters.status)] : states).reduce(
    (sum, state) => sum + (counts[state] ?? 0),
    0,
  )
}

/** Shows all jobs. */
export function clear() {
  change(Object.fromEntries(names.map((name) => [name, null])))
}

/** Adds or removes a value of a filter that may be repeated. */
export function toggle(params, name, value) {
  const present = params.getAll(name)
  change({ [name]: present.includes(value) ? present.filter((one) => one !== value) : [...present, value] })
}
