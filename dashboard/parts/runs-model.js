// The runs of a job as data: which variables and metrics there are, their order, and their values
// over two variables. Nothing here draws.
import { ExactNumber, show } from "../core/json.js"

/** Names in the order in which the runs first have them. */
export function namesIn(runs, member) {
  const names = new Set()
  for (const run of runs) for (const name in run[member] ?? {}) names.add(name)
  return [...names]
}

/** The names of metrics that have a number in some run: only these can be drawn. */
export function numericNames(runs) {
  return namesIn(runs, "metrics").filter(name => runs.some(run => numeric(run.metrics?.[name]) !== null))
}

/** A value as a number, or null. An exact number is rounded, which is enough to draw it. */
export function numeric(value) {
  const number = value instanceof ExactNumber ? Number(value.text) : value
  return typeof number === "number" && Number.isFinite(number) ? number : null
}

/** A value in a table: texts as they are, everything else as JSON. */
export function shown(value) {
  if (value === undefined || value === null) return ""
  return typeof value === "string" ? value : show(value)
}

/** Compares values: numbers by size, before texts by their code points, before everything else. */
export function compare(a, b) {
  const ranks = [rank(a), rank(b)]
  if (ranks[0] !== ranks[1]) return ranks[0] - ranks[1]
  if (ranks[0] === 0) return compareNumbers(a, b)
  const texts = [shown(a), shown(b)]
  return texts[0] < texts[1] ? -1 : texts[0] > texts[1] ? 1 : 0
}

function rank(value) {
  if (typeof value === "number" || value instanceof ExactNumber) return 0
  return typeof value === "string" ? 1 : 2
}

function compareNumbers(a, b) {
  const whole = /^-?\d+$/
  const [first, second] = [shown(a), shown(b)]
  // Two integers beyond 2⁵³ may be one double.
  if ((a instanceof ExactNumber || b instanceof ExactNumber) && whole.test(first) && whole.test(second)) {
    const difference = BigInt(first) - BigInt(second)
    return difference < 0n ? -1 : difference > 0n ? 1 : 0
  }
  return Number(first) - Number(second)
}

/** The value of a run in a column: "run_index", "variables:NAME" or "metrics:NAME". */
export function valueOf(run, column) {
  if (column === "run_index") return run.run_index
  const place = column.indexOf(":")
  return run[column.slice(0, place)]?.[column.slice(place + 1)]
}

/** The runs in the order of a column. Runs without a value are last in either direction. */
export function sorted(runs, column, isDescending) {
  const sign = isDescending ? -1 : 1
  return runs
    .map(run => ({ run, value: valueOf(run, column) }))
    .sort((a, b) => {
      const missing = isMissing(a.value) - isMissing(b.value)
      if (missing !== 0 || isMissing(a.value)) return missing || a.run.run_index - b.run.run_index
      return sign * compare(a.value, b.value) || a.run.run_index - b.run.run_index
    })
    .map(({ run }) => run)
}

function isMissing(value) {
  return Number(value === undefined || value === null)
}

/** The distinct values of a variable, in order. */
export function levels(runs, variable) {
  const found = new Map()
  for (const run of runs) {
    const value = run.variables?.[variable]
    if (value !== undefined && value !== null) found.set(show(value), value)
  }
  return [...found.values()].sort(compare)
}

/** The variables that have more than one value. */
export function varying(runs) {
  return namesIn(runs, "variables").filter(name => levels(runs, name).length > 1)
}

export const aggregates = {
  best: { text: "best", of: (values, isLowBetter) => (isLowBetter ? Math.min(...values) : Math.max(...values)) },
  mean: { text: "mean", of: values => values.reduce((sum, value) => sum + value, 0) / values.length },
  median: {
    text: "median",
    of: values => {
      const ordered = [...values].sort((a, b) => a - b)
      const middle = ordered.length >> 1
      return ordered.length % 2 ? ordered[middle] : (ordered[middle - 1] + ordered[middle]) / 2
    },
  },
  worst: { text: "worst", of: (values, isLowBetter) => (isLowBetter ? Math.max(...values) : Math.min(...values)) },
}

/**
 * A metric over two variables. `y` may be null for one row.
 *
 * Returns `{xs, ys, cells, least, most}`; `cells[row][column]` is `{value, runs, run}` or null where
 * there is no run with a number. `run` is the run that has the value, where one has it.
 */
export function heat(runs, { x, y, metric, aggregate, isLowBetter }) {
  const [xs, ys] = [levels(runs, x), y === null ? [null] : levels(runs, y)]
  const [places, rows] = [placesOf(xs), placesOf(ys)]
  const found = ys.map(() => xs.map(() => []))
  for (const run of runs) {
    const value = numeric(run.metrics?.[metric])
    const column = places.get(show(run.variables?.[x] ?? null))
    const row = y === null ? 0 : rows.get(show(run.variables?.[y] ?? null))
    if (value !== null && column !== undefined && row !== undefined) found[row][column].push({ value, run })
  }
  let [least, most] = [Infinity, -Infinity]
  const cells = found.map(line =>
    line.map(list => {
      if (list.length === 0) return null
      const value = aggregates[aggregate].of(
        list.map(item => item.value),
        isLowBetter,
      )
      least = Math.min(least, value)
      most = Math.max(most, value)
      return { value, runs: list.length, run: list.find(item => item.value === value)?.run ?? null }
    }),
  )
  return { xs, ys, cells, least, most }
}

function placesOf(values) {
  return new Map(values.map((value, index) => [show(value), index]))
}

/** Whether small numbers of a metric are the good ones, by its name. A guess that one can change. */
export function guessLowBetter(metric) {
  return /(^|_)(error|loss|drawdown|cost|latency|rmse|mse|mae|time|duration|risk|volatility|vol)($|_)/i.test(metric)
}

/** The runs that an event reports, as `batch_job_runs` has them. */
export function runsOfEvent(type, data) {
  const list = type === "progress" ? data?.runs : type === "finished" ? data?.results?.runs : null
  if (!Array.isArray(list)) return []
  return list.map((run, ordinal) => ({
    run_index: run?.run_index ?? ordinal,
    variables: run?.variables ?? {},
    metrics: run?.metrics ?? {},
  }))
}

// Making a format takes longer than using it a hundred times.
const plain = new Intl.NumberFormat("en-US")
const significant = new Intl.NumberFormat("en-US", { maximumSignificantDigits: 5 })

/** A number for people: few digits where they say enough, all where it is whole. */
export function brief(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–"
  if (Number.isInteger(value) && Math.abs(value) < 1e15) return plain.format(value)
  const size = Math.abs(value)
  if (size >= 1e6 || size < 1e-4) return value.toExponential(3)
  return significant.format(value)
}
