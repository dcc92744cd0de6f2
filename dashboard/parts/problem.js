// Errors in words, and empty places.

import { h } from "../core/dom.js"

const words = {
  away: "The ledger cannot be reached",
  unauthorized: "You are not signed in",
  forbidden: "This session may not read",
  not_found: "There is nothing here",
  unknown_job: "There is no such job",
  too_slow: "That took too long",
  unavailable: "The database cannot be reached",
  stopping: "The service is stopping",
  not_migrated: "The ledger is being changed",
  not_projected_yet: "The tables are behind the log",
  invalid_request: "That cannot be asked",
  invalid_parameter: "That cannot be asked",
}

/** What is wrong, in words, with a button that tries again. */
export function problem(error, retry) {
  const title =
    words[error.code] ?? (error.name === "ApiError" ? "The service refused" : "Something in this page failed")
  const note = error.code === "away" || error.status === 503 ? " It tries again by itself." : ""
  return h(
    "div",
    { class: "error", role: "alert" },
    h("div", {}, h("strong", {}, title), ". ", error.detail ?? error.message, note),
    retry && error.status !== 400 && h("button", { type: "button", onclick: retry }, "Try again"),
  )
}

/** An empty place: what is missing, and what to do. */
export function empty(title, ...more) {
  return h("div", { class: "empty" }, h("strong", {}, title), ...more)
}

/** Runs `load` now, and again after a failure that passes: it waits longer each time. */
export function retrying(load, { signal, onError }) {
  let timer = null
  let wait = 1000
  const run = async () => {
    clearTimeout(timer)
    try {
      await load()
      wait = 1000
    } catch (error) {
      if (signal.aborted || error.name === "AbortError") return
      onError(error, run)
      if (error.status === 0 || error.status === 503) {
        timer = setTimeout(run, wait)
        wait = Math.min(wait * 2, 15_000)
      } else if (error.name !== "ApiError") {
        console.error(error)
      }
    }
  }
  signal.addEventListener("abort", () => clearTimeout(timer), { once: true })
  return run
}
