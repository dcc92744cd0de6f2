// Requests to the service. The session is a cookie; there is no token in the page.

import { note } from "./clock.js"
import { parse } from "./json.js"

/** A refusal of the service, or no answer at all (`status` 0, `code` "away"). */
export class ApiError extends Error {
  constructor(status, code, detail) {
    super(detail)
    Object.assign(this, { name: "ApiError", status, code, detail })
  }
}

/** The address of a request. Arrays repeat a parameter; `null`, `undefined` and "" leave it out. */
export function address(path, params) {
  const query = new URLSearchParams()
  const pairs = params instanceof URLSearchParams ? [...params] : Object.entries(params ?? {})
  for (const [name, value] of pairs) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && one !== undefined && one !== "") query.append(name, one)
    }
  }
  const text = query.toString()
  return text === "" ? path : `${path}${path.includes("?") ? "&" : "?"}${text}`
}

async function refusal(response) {
  const body = await response.text().catch(() => "")
  let problem = {}
  try {
    problem = JSON.parse(body)
  } catch {
    // A proxy may answer in HTML.
  }
  return new ApiError(
    response.status,
    problem.code ?? `http_${response.status}`,
    problem.detail ?? problem.title ?? `The service answered ${response.status}.`,
  )
}

/** `fetch` that throws an `ApiError` for all but 2xx, and tells the page when the session has ended. */
export async function request(path, { params, signal, method = "GET", headers = {}, body, quiet = false } = {}) {
  let response
  try {
    response = await fetch(address(path, params), { method, headers, body, signal, cache: "no-store" })
  } catch (error) {
    if (signal?.aborted) throw signal.reason ?? error
    throw new ApiError(0, "away", "The service cannot be reached.")
  }
  note(response.headers.get("Date"))
  if (response.ok) return response
  const error = await refusal(response)
  if (response.status === 401 && !quiet) window.dispatchEvent(new Event("signed-out"))
  throw error
}

/** `{value, position, response}` of a JSON answer; `position` is its `Ledger-Position`, if it has one. */
export async function get(path, params, { signal } = {}) {
  const response = await request(path, { params, signal, headers: { Accept: "application/json" } })
  const source = await response.text().catch((error) => {
    throw signal?.aborted ? error : new ApiError(0, "away", "The answer broke off.")
  })
  const value = parse(source)
  const position = Number(response.headers.get("Ledger-Position") ?? value?.position ?? NaN)
  return { value, position: Number.isNaN(position) ? null : position, response, source }
}

/** An answer as text: CSV, a checkpoint, a proof. */
export async function text(path, params, { signal, accept = "*/*" } = {}) {
  const response = await request(path, { params, signal, headers: { Accept: accept } })
  return response.text()
}

/** A part of a path: an id may hold any character. */
export function segment(id) {
  return encodeURIComponent(id)
}
