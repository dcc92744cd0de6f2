// The state of a job: a word with a shape, and a colour that only helps.

import { h } from "../core/dom.js"

/** `badge("failed")`, or with other words `badge("bad", "stopped")`. */
export function badge(state, text = state) {
  return h("span", { class: "badge", "data-state": state }, text)
}

/** A progress bar. `total` 0 means that the total is not known. */
export function progressBar({ completed, total, state, label = "progress" }) {
  const share = total > 0 ? Math.min(1, completed / total) : state === "finished" ? 1 : 0
  const bar = h("i")
  bar.style.transform = `scaleX(${share})`
  return h(
    "div",
    {
      class: "progress",
      role: "progressbar",
      "data-state": state,
      "aria-label": label,
      "aria-valuemin": 0,
      "aria-valuemax": 100,
      "aria-valuenow": total > 0 ? Math.floor(share * 100) : null,
      "aria-valuetext": total > 0 ? null : `${completed} done, the total is not known`,
    },
    bar,
  )
}
