// A job's row, brought up to date by the events that came after it, as the ledger's own projection
// does it; and what a row says beside its columns.

import { millis } from "../core/format.js"

/** Applies an event to a row. Does nothing if the row has it already. */
export function fold(row, event) {
  if (event.position <= row.last_position) return false
  const { type, data = {}, total } = event
  if (typeof total === "number") row.total = total
  if (type === "progress") {
    if (row.status === "queued") {
      row.status = "running"
      row.started_at = event.happened_at
    }
    row.completed = Math.max(row.completed, Number(data.completed ?? 0))
  } else if (type === "truncated") {
    row.truncated = true
  } else if (type === "finished" || type === "failed") {
    row.status = type
    row.completed_at = event.happened_at
    if (type === "failed") row.error = typeof data.error === "string" ? data.error : row.error
    if (type === "finished" && !row.truncated && row.total > 0) row.completed = row.total
  }
  if (row.total > 0) row.total = Math.max(row.total, row.completed)
  if (millis(event.happened_at) > millis(row.updated_at)) row.updated_at = event.happened_at
  row.last_position = event.position
  row.last_version = event.version
  row.last_recorded_at = event.recorded_at
  return true
}

/** Whether a job has neither finished nor failed. */
export function isOpen(row) {
  return row.status === "queued" || row.status === "running"
}

/** For how long an open job has said nothing, in milliseconds, if that is longer than `silence`. */
export function overdue(row, silence, at) {
  if (!isOpen(row)) return null
  const quiet = at - millis(row.last_recorded_at ?? row.updated_at)
  return quiet > silence ? quiet : null
}

/** How long a job has run or ran, in milliseconds; NaN before its start. */
export function took(row, at) {
  const start = millis(row.started_at ?? (isOpen(row) ? null : row.created_at))
  return (isOpen(row) ? at : millis(row.completed_at)) - start
}

const steepness = 15_000
const mostKept = 5000

/** The rates of running jobs: of what was just heard where that is known, otherwise of the whole run. */
export class Rates {
  #of = new Map()

  /** Notes a progress event. */
  note(event) {
    if (event.type === "finished" || event.type === "failed") return this.#of.delete(event.job)
    if (event.type !== "progress") return
    const [at, completed] = [millis(event.recorded_at), Number(event.data?.completed ?? 0)]
    const before = this.#of.get(event.job)
    this.#of.delete(event.job)
    if (!before) {
      this.#of.set(event.job, { at, completed, perSecond: null })
    } else if (at - before.at < 200 || completed < before.completed) {
      this.#of.set(event.job, before)
    } else {
      const latest = ((completed - before.completed) * 1000) / (at - before.at)
      const weight = 1 - Math.exp((before.at - at) / steepness)
      const perSecond = before.perSecond === null ? latest : before.perSecond + (latest - before.perSecond) * weight
      this.#of.set(event.job, { at, completed, perSecond })
    }
    if (this.#of.size > mostKept) this.#of.delete(this.#of.keys().next().value)
  }

  /** Items a second; `null` if that cannot be told. */
  of(row) {
    const heard = this.#of.get(row.id)?.perSecond
    if (heard !== null && heard !== undefined) return heard
    const time = millis(row.status === "running" ? row.updated_at : row.completed_at) - millis(row.started_at)
    return time > 0 && row.completed > 0 ? (row.completed * 1000) / time : null
  }
}

/** Milliseconds until a running job is done at this rate; `null` if that cannot be told. */
export function timeLeft(row, rate) {
  return row.status === "running" && row.total > 0 && rate > 0 ? ((row.total - row.completed) * 1000) / rate : null
}
