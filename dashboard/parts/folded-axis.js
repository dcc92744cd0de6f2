// A time axis with idle stretches folded: where a time is drawn, and which time is at a place.

import { duration } from "../core/format.js"

const foldWidth = 26
// A stretch without activity is folded if it takes more than this part of all other time shown.
const outweighing = 0.12
const shortest = 30_000
const mostFolds = 24
const steps = [
  1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800,
  2_592_000,
]
const pad = (value) => String(value).padStart(2, "0")

/** The stretches between `from` and `to` in which none of the intervals `[start, end]` lies. */
export function gaps(intervals, from, to) {
  const sorted = intervals.filter(([start, end]) => end >= from && start <= to).sort((a, b) => a[0] - b[0])
  const found = []
  let end = from
  for (const [start, stop] of sorted) {
    if (start > end) found.push([end, start])
    end = Math.max(end, stop)
  }
  if (end < to) found.push([end, to])
  return found
}

export class FoldedAxis {
  constructor({ from, to, width, intervals }) {
    Object.assign(this, { from, to, width: Math.max(width, 1) })
    this.folds = this.#choose(gaps(intervals, from, to))
    this.idle = this.folds.reduce((sum, [start, end]) => sum + end - start, 0)
    this.#lay()
  }

  #choose(candidates) {
    const byLength = candidates.toSorted((a, b) => b[1] - b[0] - (a[1] - a[0]))
    let rest = this.to - this.from
    const chosen = []
    for (const gap of byLength.slice(0, mostFolds)) {
      const length = gap[1] - gap[0]
      if (
        length < shortest ||
        length < outweighing * (rest - length) ||
        (chosen.length + 1) * foldWidth > this.width / 2
      )
        break
      rest -= length
      chosen.push(gap)
    }
    return chosen.sort((a, b) => a[0] - b[0])
  }

  #lay() {
    const busy = Math.max(1, this.to - this.from - this.idle)
    this.perMilli = Math.max(1, this.width - this.folds.length * foldWidth) / busy
    this.parts = []
    let [time, x] = [this.from, 0]
    const add = (end, width, isFold) => {
      if (end > time || isFold) this.parts.push({ from: time, to: end, x, width, isFold })
      x += width
      time = end
    }
    for (const [start, end] of this.folds) {
      add(start, (start - time) * this.perMilli, false)
      add(end, foldWidth, true)
    }
    add(this.to, (this.to - time) * this.perMilli, false)
  }

  /** Where a time is drawn, from 0 to the width; beyond both ends outside of it. */
  x(time) {
    if (time <= this.from) return time === this.from ? 0 : -1
    if (time >= this.to) return time === this.to ? this.width : this.width + 1
    const part = this.parts.find((one) => time <= one.to)
    return part.x + (part.width * (time - part.from)) / Math.max(1, part.to - part.from)
  }

  /** Which time is at a place. */
  time(x) {
    const part = this.parts.find((one) => x <= one.x + one.width) ?? this.parts.at(-1)
    return part.from + (part.to - part.from) * Math.max(0, Math.min(1, (x - part.x) / Math.max(part.width, 1e-9)))
  }

  /** `[{x, text, isDay}]`, without two labels in one place. */
  ticks() {
    const wanted = 92 / this.perMilli / 1000
    const step = (steps.find((one) => one >= wanted) ?? steps.at(-1)) * 1000
    const offset = new Date(this.from).getTimezoneOffset() * 60_000
    const found = []
    let lastX = -Infinity
    let lastDay = ""
    for (const part of this.parts) {
      if (part.isFold) continue
      const first = Math.ceil((part.from - offset) / step) * step + offset
      for (let time = first; time <= part.to; time += step) {
        const x = this.x(time)
        if (x - lastX < 70 || x > this.width - 30) continue
        const date = new Date(time)
        const day = `${pad(date.getMonth() + 1)}-${pad(date.getDate())}`
        const seconds = step < 60_000 ? `:${pad(date.getSeconds())}` : ""
        const clock = `${pad(date.getHours())}:${pad(date.getMinutes())}${seconds}`
        const isDay = day !== lastDay
        found.push({ x, text: step >= 86_400_000 ? day : isDay ? `${day} ${clock}` : clock, isDay })
        lastX = isDay ? x + 24 : x
        lastDay = day
      }
    }
    return found
  }

  /** `[{x, width, text}]` of the folded stretches. */
  folded() {
    return this.parts
      .filter((part) => part.isFold)
      .map((part) => ({ x: part.x, width: part.width, text: `${duration(part.to - part.from)} idle` }))
  }
}
