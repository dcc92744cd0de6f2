// The server's clock, as far as the page knows it: ages and running times are told by it, because
// the clock of this machine may be wrong by hours.

let ahead = 0
let known = false

/** Notes the `Date` of an answer, which has whole seconds. */
export function note(date) {
  const server = Date.parse(date ?? "")
  if (Number.isNaN(server)) return
  const difference = server + 500 - Date.now()
  if (!known || Math.abs(difference - ahead) > 1500) ahead = difference
  if (Math.abs(ahead) < 1500) ahead = 0
  known = true
}

/** Milliseconds since 1970 at the server. */
export function now() {
  return Date.now() + ahead
}
