// The field in which a person types a position or a time.

import { get } from "../core/api.js"
import { now } from "../core/clock.js"
import { h } from "../core/dom.js"
import { number, secondTime } from "../core/format.js"
import { duration } from "../core/moment.js"

/** The position of a moment of the address; a time is asked for. */
export async function positionOf(text, signal) {
  if (/^\d+$/.test(text)) return Number(text)
  return (await get("/v1/job-counts", { at: text }, { signal })).value.position
}

/** What a person types: a position, a time, a time of today, or how long ago. `null` if it is none. */
export function parseMoment(text) {
  const plain = text.trim().replaceAll(",", "")
  if (/^\d+$/.test(plain)) return plain
  const before = duration(plain)
  if (before !== null) return new Date(now() - before).toISOString()
  const isClock = /^\d{1,2}:\d\d/.test(plain)
  const value = new Date(isClock ? `${secondTime(now()).slice(0, 10)} ${plain.padStart(5, "0")}` : plain)
  return Number.isNaN(value.getTime()) ? null : value.toISOString()
}

/** `{form, input}`; calls `place(position)`. `head()` is the last position there is. */
export function momentInput({ place, head }) {
  const input = h("input", {
    name: "moment",
    "aria-label": "Go to a position or time",
    placeholder: "position or time",
    autocomplete: "off",
    spellcheck: false,
    title: "120, 14:03, 2026-11-30 14:03:09, or 15m for fifteen minutes ago ( @ )",
    oninput: () => input.setCustomValidity(""),
  })
  const fail = (text) => {
    input.setCustomValidity(text)
    input.reportValidity()
  }
  const submit = async (event) => {
    event.preventDefault()
    const wanted = parseMoment(input.value)
    if (wanted === null) return fail("Type a position such as 120, a time such as 14:03 or 2026-11-30 14:03, or 15m.")
    try {
      const position = await positionOf(wanted)
      if (position > head()) return fail(`The log ends at position ${number(head())}.`)
      input.value = ""
      input.blur()
      place(position)
    } catch (error) {
      fail(error.detail ?? String(error))
    }
  }
  // The check is this module's own: a message of before must not keep the next text from being tried.
  return { form: h("form", { noValidate: true, onsubmit: submit }, input), input }
}
