// The scale of the time bar: a share of its length for each position, by position or by time.

import { millis } from "../core/format.js"

// A gap without events is folded if it takes more than this part of the other time. It is drawn as
// long as a small part of that.
const outweighing = 0.12
const foldedShare = 0.04
const mostFolds = 12
const shortestFold = 10_000

/** `moments`: [{position, recorded_at}] in order, the first and the last position among them. */
export class TimeScale {
  constructor(moments, byTime) {
    this.points = moments.map((one) => ({ position: one.position, time: millis(one.recorded_at) }))
    this.byTime = byTime
    this.folds = []
    this.#measure()
  }

  #measure() {
    const { points } = this
    const last = points.at(-1)
    const first = points[0]
    if (!this.byTime) {
      const span = Math.max(1, last.position - first.position)
      for (const point of points) point.at = (point.position - first.position) / span
      return
    }
    const gaps = points.slice(1).map((point, index) => Math.max(0, point.time - points[index].time))
    const limit = this.#foldedLength(gaps)
    const lengths = gaps.map((gap) => (gap > limit.from ? limit.length : gap))
    const whole = lengths.reduce((sum, one) => sum + one, 0) || 1
    let sum = 0
    points[0].at = 0
    lengths.forEach((length, index) => {
      const from = sum / whole
      sum += length
      points[index + 1].at = sum / whole
      if (gaps[index] > limit.from)
        this.folds.push({ from, to: sum / whole, gap: gaps[index], time: points[index].time })
    })
  }

  /** Above which length a gap is folded, and to which: the longest gaps, while they outweigh the rest. */
  #foldedLength(gaps) {
    const sorted = gaps.toSorted((a, b) => b - a)
    let rest = sorted.reduce((sum, gap) => sum + gap, 0)
    let from = Infinity
    for (const gap of sorted.slice(0, mostFolds)) {
      rest -= gap
      if (gap < shortestFold || gap < outweighing * rest) break
      from = gap
    }
    if (from === Infinity) return { from, length: 0 }
    const busy = gaps.reduce((sum, gap) => sum + (gap >= from ? 0 : gap), 0)
    return { from: from - 1, length: Math.max(busy * foldedShare, 1) }
  }

  #between(key, value) {
    const { points } = this
    let [low, high] = [0, points.length - 1]
    while (high - low > 1) {
      const middle = (low + high) >> 1
      if (points[middle][key] <= value) low = middle
      else high = middle
    }
    return [points[low], points[Math.max(low, high)]]
  }

  #interpolate(key, value, wanted) {
    const [a, b] = this.#between(key, value)
    const span = b[key] - a[key]
    const share = span > 0 ? Math.max(0, Math.min(1, (value - a[key]) / span)) : 0
    return a[wanted] + (b[wanted] - a[wanted]) * share
  }

  /** The share of the bar's length at which a position is. */
  shareOf(position) {
    return this.#interpolate("position", position, "at")
  }

  /** The position at a share of the length; between known moments it is estimated. */
  positionAt(share) {
    return Math.round(this.#interpolate("at", share, "position"))
  }

  /** The time at a share of the length, in milliseconds; between known moments it is estimated. */
  timeAt(share) {
    return this.#interpolate("at", share, "time")
  }

  /** The estimated time of a position. */
  timeOf(position) {
    return this.#interpolate("position", position, "time")
  }
}
