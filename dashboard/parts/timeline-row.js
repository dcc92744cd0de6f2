// One job on the timeline: its name, and bars for its waiting, running and end.

import { href } from "../core/address.js"
import { segment } from "../core/api.js"
import { h, setText } from "../core/dom.js"
import { duration, fullTime, millis, roughly, time } from "../core/format.js"
import { isOpen, overdue, took } from "./job-fold.js"

const thinnest = 3
const noteWidth = 150

export function makeRow() {
  const parts = {
    badge: h("span", { class: "badge" }, ""),
    link: h("a", { class: "name cut", tabIndex: -1 }, ""),
    wait: h("i", { class: "wait" }),
    run: h("i", { class: "run" }),
    silent: h("i", { class: "silent" }),
    end: h("i", { class: "end" }),
    away: h("span", { class: "away" }, ""),
    words: h("span", { class: "visually-hidden" }, ""),
    note: h("span", { class: "note" }, ""),
  }
  parts.bars = h(
    "div",
    { role: "gridcell", class: "bars", "aria-colindex": 3 },
    parts.wait,
    parts.run,
    parts.silent,
    parts.end,
    parts.note,
    parts.away,
    parts.words,
  )
  const element = h(
    "div",
    { class: "grid-row timeline-row" },
    h("div", { role: "gridcell", class: "cell state", "aria-colindex": 1 }, parts.badge),
    h("div", { role: "gridcell", class: "cell job-name", "aria-colindex": 2 }, parts.link),
    parts.bars,
  )
  element.parts = parts
  return element
}

function place(node, from, to, axis) {
  const isShown = to >= axis.from && from <= axis.to && to >= from
  node.hidden = !isShown
  if (!isShown) return
  const [x, end] = [Math.max(0, axis.x(from)), Math.min(axis.width, axis.x(to))]
  node.style.transform = `translateX(${x.toFixed(1)}px)`
  node.style.width = `${Math.max(thinnest, end - x).toFixed(1)}px`
}

/** What the bars say, for those who do not see them. */
function words(row, at, quiet) {
  const parts = [`queued ${fullTime(row.created_at).slice(0, 19)}`]
  if (row.started_at) parts.push(`started ${time(row.started_at)}`)
  if (row.completed_at) parts.push(`${row.status} ${time(row.completed_at)}`)
  if (row.started_at) parts.push(`${isOpen(row) ? "runs for" : "ran for"} ${duration(took(row, at))}`)
  if (row.truncated) parts.push("truncated")
  if (quiet !== null) parts.push(`overdue, silent for ${duration(quiet)}`)
  return parts.join(", ")
}

/** Fills a row of `makeRow`. `at` is the time that is shown, in milliseconds. */
export function drawRow(element, row, { axis, at, silence }) {
  const { parts } = element
  const bars = [parts.wait, parts.run, parts.silent, parts.end, parts.away, parts.note]
  if (row === undefined || axis === null) {
    setText(parts.link, "…")
    parts.badge.hidden = true
    for (const one of bars) one.hidden = true
    return
  }
  const quiet = overdue(row, silence, at)
  parts.badge.hidden = false
  if (parts.badge.dataset.state !== row.status) parts.badge.dataset.state = row.status
  setText(parts.badge, row.status)
  const target = href(`/jobs/${segment(row.id)}`)
  if (parts.link.getAttribute("href") !== target) parts.link.href = target
  setText(parts.link, row.name)
  const queued = millis(row.created_at)
  const started = row.started_at ? millis(row.started_at) : null
  const end = row.completed_at ? millis(row.completed_at) : at
  const heard = isOpen(row) && quiet !== null ? Math.min(end, millis(row.updated_at)) : end
  place(parts.wait, queued, started ?? heard, axis)
  if (started === null) parts.run.hidden = true
  else place(parts.run, started, Math.max(started, heard), axis)
  if (quiet === null) parts.silent.hidden = true
  else place(parts.silent, Math.max(heard, queued), end, axis)
  element.dataset.state = row.status
  parts.end.hidden = isOpen(row) || end < axis.from || end > axis.to
  if (!parts.end.hidden)
    parts.end.style.transform = `translateX(${Math.min(axis.width - 12, axis.x(end)).toFixed(1)}px)`
  const isBefore = end < axis.from
  const isAfter = queued > axis.to
  parts.away.hidden = !isBefore && !isAfter
  if (!parts.away.hidden) {
    setText(parts.away, isBefore ? `◂ ${time(end)}` : `${time(queued)} ▸`)
    parts.away.classList.toggle("is-after", isAfter)
  }
  // Before the bars, where there is room for it: it must not hide them.
  const start = axis.x(queued)
  parts.note.hidden = quiet === null || start < noteWidth || isAfter
  if (!parts.note.hidden) {
    setText(parts.note, `overdue, silent ${roughly(quiet)}`)
    parts.note.style.right = `${(axis.width - start + 8).toFixed(1)}px`
  }
  const said = words(row, at, quiet)
  setText(parts.words, said)
  if (parts.bars.title !== said) parts.bars.title = said
}
