// What the status of a ledger and the metrics of a service say: what is wrong, and some figures.
import { now } from "../core/clock.js"
import { duration, millis, number, plural } from "../core/format.js"

/** Below this a reader that is behind is only at work. */
export const lateSeconds = 10

export function age(reader) {
  const oldest = millis(reader.oldest_unfolded_at)
  return Number.isNaN(oldest) || !reader.lag ? null : Math.max(0, Math.round((now() - oldest) / 1000))
}

/** What is not as it should be, the worst first. */
export function troubles(status) {
  const found = stoppedOf(status).map(one => ({ tone: "bad", text: `${one.title} has stopped` }))
  const readers = [
    { name: "the relay", ...status.relay },
    ...status.projections,
    { name: "the sealer", ...status.seal },
  ]
  for (const one of readers) {
    if (!one.error && !one.active) found.push({ tone: "warn", text: `${one.name}: no process is working` })
    else if (!one.error && age(one) > lateSeconds)
      found.push({ tone: "warn", text: `${one.name} is ${duration(1000 * age(one))} behind` })
  }
  for (const { name, drift_checks: drift } of status.projections)
    if (drift?.drifted > 0) found.push({ tone: "bad", text: `${name} has drifted` })
  if (status.holder?.held_seconds >= 5)
    found.push({ tone: "bad", text: `the log is held for ${status.holder.held_seconds} s` })
  if (status.lost_events > 0) found.push({ tone: "warn", text: `${plural(status.lost_events, "event")} lost` })
  if (status.clock_ahead_seconds >= 10)
    found.push({ tone: "warn", text: `the log's clock is ${status.clock_ahead_seconds} s ahead` })
  return found
}

export function stoppedOf(status) {
  const one = (title, { error, failed_position: position, failed_event: event }, advice) => ({
    title,
    error,
    position,
    event,
    advice,
  })
  return [
    ...status.projections
      .filter(reader => reader.error)
      .map(reader =>
        one(
          `Projection ${reader.name}`,
          reader,
          `jobledger project --retry ${reader.name}, or --skip ${reader.name} ` +
            `--position ${reader.failed_position ?? 0} --reason …`,
        ),
      ),
    ...(status.seal.error ? [one("The seal", status.seal, "jobledger audit verify")] : []),
    ...status.rebuilds
      .filter(rebuild => rebuild.error)
      .map(rebuild => one(`The rebuild of ${rebuild.projection}`, rebuild, `jobledger rebuild ${rebuild.projection}`)),
  ]
}

function metricLines(metrics, name) {
  return (metrics ?? "").split("\n").filter(line => line.startsWith(name) && /[ {]/.test(line[name.length] ?? ""))
}

export function metricSum(metrics, name) {
  const lines = metricLines(metrics, name)
  return lines.length === 0
    ? "–"
    : number(lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" "))), 0))
}

/** The bound within which 99 of 100 events reached a stream. */
export function deliveryLag(metrics) {
  const buckets = metricLines(metrics, "jobledger_delivery_lag_seconds_bucket").map(line => [
    /le="([^"]+)"/.exec(line)?.[1],
    Number(line.slice(line.lastIndexOf(" "))),
  ])
  const all = buckets.at(-1)?.[1] ?? 0
  if (all === 0) return "no event yet"
  const bound = buckets.find(([, count]) => count >= 0.99 * all)?.[0]
  return bound === "+Inf" ? "more than 10 s for 1 in 100" : `${duration(1000 * Number(bound))} for 99 of 100`
}
