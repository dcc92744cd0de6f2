// One row of the table of jobs. It is made once and drawn often, so it changes only what differs.

import { href } from "../core/address.js"
import { segment } from "../core/api.js"
import { h, setText } from "../core/dom.js"
import { duration, fullTime, millis, number, rate, roughly, time } from "../core/format.js"
import { isOpen, overdue, timeLeft, took } from "./job-fold.js"

export const columns = [
  { key: "state", label: "State" },
  { key: "name", label: "Job", sort: "name" },
  { key: "progress", label: "Progress", class: "at-middle" },
  { key: "queued", label: "Queued", sort: "queued", class: "right at-wide" },
  { key: "started", label: "Started", sort: "started", class: "right at-middle" },
  { key: "took", label: "Took", sort: "took", class: "right" },
  { key: "marks", label: "Notes", class: "at-middle" },
  { key: "actor", label: "Actor", class: "at-wide" },
]

/** An empty row. */
export function makeRow() {
  const parts = {
    badge: h("span", { class: "badge" }, ""),
    link: h("a", { class: "name cut", tabIndex: -1 }, ""),
    id: h("span", { class: "mono name cut small" }, ""),
    bar: h("i"),
    words: h("span", { class: "words cut" }, ""),
    queued: h("span", {}, ""),
    started: h("span", {}, ""),
    took: h("span", {}, ""),
    late: h("span", { class: "late" }, ""),
    cutoff: h("span", { class: "cutoff" }, "truncated"),
    actor: h("span", { class: "name" }, ""),
  }
  parts.progress = h("div", { class: "progress", "aria-hidden": "true" }, parts.bar)
  const cell = (name, ...children) => h("div", { role: "gridcell", class: `cell ${name}` }, ...children)
  const element = h(
    "div",
    { class: "grid-row" },
    cell("state", parts.badge),
    cell("job-name", parts.link, parts.id),
    cell("job-progress", parts.progress, parts.words),
    cell("right at-wide", parts.queued),
    cell("right at-middle", parts.started),
    cell("right took", parts.took),
    cell("marks at-middle", parts.late, parts.cutoff),
    cell("at-wide", parts.actor),
  )
  for (const [index, child] of [...element.children].entries()) child.setAttribute("aria-colindex", index + 1)
  element.parts = parts
  return element
}

function attribute(node, name, value) {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value)
}

function percent(row) {
  const share = row.completed / row.total
  return `${share < 1 && share > 0.99 ? 99 : Math.round(share * 100)} %`
}

/** The line of an error that says most: the last one of a traceback, otherwise the first. */
export function errorLine(error) {
  const lines = (error ?? "")
    .split("\n")
    .map((line) => line.trim())
    .filter(Boolean)
  return (lines[0]?.startsWith("Traceback") ? lines.at(-1) : lines[0]) ?? "no error was given"
}

// After so long without an event the rate of before says little.
const quietAfter = 60_000

/** What stands beside the bar: how far, how fast, how long still; or why it failed. */
export function progressWords(row, rates, at) {
  if (row.status === "failed") return errorLine(row.error)
  if (row.status === "queued") return row.total > 0 ? `${number(row.total)} to do` : "waiting"
  const done = row.total > 0 ? percent(row) : `${number(row.completed)} done`
  const perSecond = rates.of(row)
  if (row.status === "finished") return `${row.total > 0 ? `${number(row.completed)} of ${number(row.total)}` : done}`
  const quiet = at - millis(row.last_recorded_at)
  if (quiet > quietAfter) return `${done} · quiet for ${roughly(quiet)}`
  const left = timeLeft(row, perSecond)
  return [
    done,
    perSecond === null ? null : rate(perSecond),
    left === null || left <= 0 ? null : `${duration(left)} left`,
  ]
    .filter(Boolean)
    .join(" · ")
}

/** Fills a row of `makeRow`. `at` is the time that is shown, in milliseconds. */
export function drawRow(element, row, { at, silence, rates }) {
  const { parts } = element
  element.classList.toggle("is-waiting", row === undefined)
  if (row === undefined) {
    setText(parts.link, "…")
    for (const name of ["badge", "id", "words", "queued", "started", "took", "actor"]) setText(parts[name], "")
    parts.badge.hidden = parts.progress.hidden = true
    parts.late.hidden = parts.cutoff.hidden = true
    return
  }
  const quiet = overdue(row, silence, at)
  parts.badge.hidden = parts.progress.hidden = false
  attribute(parts.badge, "data-state", row.status)
  setText(parts.badge, row.status)
  attribute(parts.link, "href", href(`/jobs/${segment(row.id)}`))
  setText(parts.link, row.name)
  if (parts.link.title !== row.name) parts.link.title = row.name
  setText(parts.id, row.id)
  const share = row.total > 0 ? row.completed / row.total : row.status === "finished" ? 1 : 0
  const scale = `scaleX(${Math.min(1, share).toFixed(4)})`
  if (parts.scale !== scale) parts.bar.style.transform = parts.scale = scale
  attribute(parts.progress, "data-state", row.status)
  const words = progressWords(row, rates, at)
  setText(parts.words, words)
  parts.words.classList.toggle("is-error", row.status === "failed")
  if (row.status === "failed") attribute(parts.words, "title", row.error ?? "")
  else if (parts.words.title !== "") parts.words.title = ""
  for (const [name, iso] of [
    ["queued", row.created_at],
    ["started", row.started_at],
  ]) {
    if (parts[name].iso !== iso) {
      parts[name].iso = iso
      setText(parts[name], iso ? time(iso) : "–")
      parts[name].title = iso ? fullTime(iso) : ""
    }
  }
  setText(parts.took, row.started_at || !isOpen(row) ? duration(took(row, at)) : "–")
  parts.late.hidden = quiet === null
  if (quiet !== null) setText(parts.late, `overdue, silent ${roughly(quiet)}`)
  parts.cutoff.hidden = !row.truncated
  setText(parts.actor, row.actor ?? "–")
}
