// Progress over time, in a bounded number of points however long the job is.

/** The most points that are kept. */
const most = 4000

/** Points `{happened, recorded, completed, total, position, version, type}` of a job, in the order of versions. */
export class Series {
  points = []
  /** How many events there are, of which the points are a sample. */
  events = 0
  #reached = 0

  clear() {
    this.points = []
    this.events = 0
    this.#reached = 0
  }

  /** Adds an event; events at or before the last version are known. */
  add(point) {
    if (point.version <= (this.points.at(-1)?.version ?? 0)) return false
    // Workers may report out of order; the job's row has the largest number.
    this.#reached = Math.max(this.#reached, point.completed ?? 0)
    this.points.push({ ...point, reached: this.#reached })
    this.events = Math.max(this.events, point.version)
    if (this.points.length > most) this.#thin()
    return true
  }

  /** Leaves out every other point of progress; marks and the ends stay. */
  #thin() {
    const last = this.points.length - 1
    this.points = this.points.filter((point, index) => point.type !== "progress" || index % 2 === 0 || index === last)
  }
}

/**
 * The versions to ask for, so that about `count` events stand for all of `last`: evenly spaced, the
 * first and the last among them.
 */
export function sampledVersions(last, count) {
  if (last <= count) return Array.from({ length: last }, (_, index) => index + 1)
  const versions = new Set()
  for (let index = 0; index < count; index++) versions.add(1 + Math.round((index * (last - 1)) / (count - 1)))
  return [...versions]
}

/** Points for the screen: for each column of pixels the last one, and all marks. */
export function perPixel(points, x) {
  const kept = []
  for (const [index, point] of points.entries()) {
    const next = points[index + 1]
    if (point.type !== "progress" || !next || Math.floor(x(next)) !== Math.floor(x(point))) kept.push(point)
  }
  return kept
}
