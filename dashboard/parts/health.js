// Whether all is well, in sentences.

import { get } from "../core/api.js"
import { ago, duration, millis, number, plural } from "../core/format.js"
import { now } from "../core/clock.js"

// A reader that is further behind than this, in time, is worth a look.
const lateAfter = 60_000

const names = {
  relay: "the relay",
  sealer: "the sealer",
  log: "the log",
  clock: "the clock",
  postgres: "Postgres",
  appends: "appending",
  service: "the service",
}

function capital(text) {
  return text[0].toUpperCase() + text.slice(1)
}

/** `/readyz`, which answers 503 where something that is needed is not ready. */
async function readiness(signal) {
  try {
    const response = await fetch("/readyz", { signal, cache: "no-store" })
    return (await response.json()).checks ?? []
  } catch (error) {
    if (signal?.aborted) throw error
    return []
  }
}

function stopped(part, name) {
  const at = part.failed_position ? ` by the event at position ${number(part.failed_position)}` : ""
  return { level: "bad", text: `${name} has stopped${at}`, detail: part.error ?? "" }
}

function late(part, name) {
  const since = part.oldest_unfolded_at ? now() - millis(part.oldest_unfolded_at) : 0
  return since > lateAfter
    ? {
        level: "warn",
        text: `${name} is ${plural(part.lag, "event")} behind`,
        detail: `the oldest of them is from ${ago(part.oldest_unfolded_at)}`,
      }
    : null
}

/** What is wrong by `/v1/status`: `[{level: "bad" | "warn", text, detail}]`. */
export function judge(status) {
  const found = []
  const idle = (status.projections ?? []).filter((one) => !one.active && one.state !== "stopped")
  for (const one of status.projections ?? []) {
    if (one.state === "stopped") found.push(stopped(one, `The projection ${one.name}`))
    else if (one.active) found.push(late(one, `The projection ${one.name}`))
  }
  if (idle.length > 0)
    found.push({
      level: "bad",
      text: `No projector runs for ${idle.map((one) => one.name).join(", ")}`,
      detail: "these tables get older",
    })
  for (const one of status.rebuilds ?? []) {
    if (one.error) found.push(stopped(one, `The rebuild of ${one.projection ?? one.name}`))
  }
  const { seal, relay } = status
  if (seal?.state === "stopped") found.push(stopped(seal, "Sealing"))
  else if (seal && !seal.active)
    found.push({ level: "bad", text: "No sealer runs", detail: "new events cannot be proved" })
  else if (seal) found.push(late(seal, "The seal"))
  if (relay && !relay.active) found.push({ level: "warn", text: "No relay runs", detail: "streams are slower" })
  else if (relay) found.push(late(relay, "The relay"))
  if (status.lost_events > 0)
    found.push({
      level: "warn",
      text: `${plural(status.lost_events, "event")} were lost by a fail-over`,
      detail: "`jobledger lost` names them",
    })
  if (status.clock_ahead_seconds >= 10)
    found.push({
      level: "warn",
      text: `The last event's time is ${duration(status.clock_ahead_seconds * 1000)} ahead of the server's clock`,
      detail: "",
    })
  return found.filter(Boolean)
}

/** `{status, problems}` of now. */
export async function health(signal) {
  const [{ value: status }, checks] = await Promise.all([get("/v1/status", {}, { signal }), readiness(signal)])
  const problems = judge(status)
  // What the status does not tell: whether the log takes appends, and who holds it.
  const known = /^(relay|sealer|clock|projections?( .*)?)$/
  for (const check of checks) {
    if (!check.ready && !known.test(check.name)) {
      problems.push({
        level: check.needed ? "bad" : "warn",
        text: `${capital(names[check.name] ?? check.name)} is not ready`,
        detail: check.detail,
      })
    }
  }
  problems.sort((a, b) => (a.level === b.level ? 0 : a.level === "bad" ? -1 : 1))
  return { status, problems }
}
