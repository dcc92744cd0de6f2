// Numbers and times as people read them, in the time zone of the browser.

import { h } from "./dom.js"
import { now } from "./clock.js"
import { ExactNumber } from "./json.js"

const locale = "en-US"
const whole = new Intl.NumberFormat(locale)
const short = new Intl.NumberFormat(locale, { notation: "compact", maximumFractionDigits: 1 })
const pad = (value, width = 2) => String(value).padStart(width, "0")

/** 123,456; the digits of an exact number as they are. */
export function number(value) {
  if (value === null || value === undefined || value === "") return "–"
  if (value instanceof ExactNumber) {
    const [, sign, digits, rest] = /^(-?)(\d+)(.*)$/.exec(value.text)
    return sign + digits.replace(/\B(?=(\d{3})+$)/g, ",") + rest
  }
  return typeof value === "number" ? whole.format(value) : String(value)
}

/** 1.2M */
export function compact(value) {
  return Math.abs(value) < 10_000 ? whole.format(value) : short.format(value)
}

/** 0.3/s, 12/s, 1,200/s; a slow rate a minute, an hour or a day. */
export function rate(perSecond) {
  if (!Number.isFinite(perSecond) || perSecond < 0) return "–"
  if (perSecond === 0) return "0/s"
  for (const [unit, seconds] of [
    ["s", 1],
    ["min", 60],
    ["h", 3600],
    ["d", 86_400],
  ]) {
    const value = perSecond * seconds
    if (value >= 1 || unit === "d")
      return `${whole.format(value < 10 ? Math.round(value * 10) / 10 : Math.round(value))}/${unit}`
  }
}

/** 0.4 s, 12 s, 3m 04s, 2h 05m, 4d 6h */
export function duration(milliseconds) {
  if (!Number.isFinite(milliseconds)) return "–"
  const sign = milliseconds < 0 ? "−" : ""
  const seconds = Math.abs(milliseconds) / 1000
  if (seconds < 0.001) return "0 s"
  if (seconds < 1) return `${sign}${Math.round(seconds * 1000)} ms`
  if (seconds < 10) return `${sign}${seconds.toFixed(1)} s`
  if (seconds < 60) return `${sign}${Math.floor(seconds)} s`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 60) return `${sign}${minutes}m ${pad(Math.floor(seconds % 60))}s`
  const hours = Math.floor(minutes / 60)
  if (hours < 48) return `${sign}${hours}h ${pad(minutes % 60)}m`
  return `${sign}${Math.floor(hours / 24)}d ${hours % 24}h`
}

/** 12s, 23m, 5h, 3d: for what need not be exact. */
export function roughly(milliseconds) {
  const [amount, unit] = [
    [86_400_000, "d"],
    [3_600_000, "h"],
    [60_000, "m"],
    [1000, "s"],
  ].find(([one]) => milliseconds >= 2 * one) ?? [1000, "s"]
  return `${Math.floor(milliseconds / amount)}${unit}`
}

/** Milliseconds of a time of the API; one without a zone is in UTC. NaN if there is none. */
export function millis(iso) {
  if (iso === null || iso === undefined) return NaN
  return Date.parse(/(Z|[+-]\d\d:?\d\d)$/i.test(iso) ? iso : `${iso}Z`)
}

function parts(time) {
  const date = new Date(time)
  return {
    day: `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())}`,
    clock: `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`,
    fraction: pad(date.getMilliseconds(), 3),
  }
}

/** 14:03:09 today, 11-29 14:03 in this year, 2025-11-29 14:03 otherwise. */
export function time(iso) {
  const value = typeof iso === "number" ? iso : millis(iso)
  if (Number.isNaN(value)) return "–"
  const { day, clock } = parts(value)
  const today = parts(now()).day
  if (day === today) return clock
  return `${day.slice(0, 4) === today.slice(0, 4) ? day.slice(5) : day} ${clock.slice(0, 5)}`
}

/** 2026-11-30 14:03:09.123 */
export function fullTime(iso) {
  const value = typeof iso === "number" ? iso : millis(iso)
  if (Number.isNaN(value)) return "–"
  const { day, clock, fraction } = parts(value)
  return `${day} ${clock}.${fraction}`
}

/** 2026-11-30 14:03:09 */
export function secondTime(iso) {
  return fullTime(iso).replace(/\.\d+$/, "")
}

/** 12s ago */
export function ago(iso, at = now()) {
  const age = at - (typeof iso === "number" ? iso : millis(iso))
  if (Number.isNaN(age)) return "–"
  return age < 2000 ? "just now" : `${roughly(age)} ago`
}

/** A `<time>` that shows a short form, and the exact one when the pointer rests on it. */
export function timeElement(iso, text = time(iso)) {
  if (iso === null || iso === undefined) return h("span", { class: "none" }, "–")
  return h("time", { dateTime: iso, title: `${fullTime(iso)} (${iso})` }, text)
}

/** "1 job", "2 jobs" */
export function plural(count, one, many = `${one}s`) {
  return `${number(count)} ${count === 1 ? one : many}`
}
