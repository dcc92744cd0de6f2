// A handle of the time bar: a slider for the keyboard and for those who listen.

import { h } from "../core/dom.js"

export class Handle {
  /** `step(handle, by)` with a number of events or `{percent}`; `place(handle, position)`. */
  constructor({ label, isSecond, step, place }) {
    const moves = {
      ArrowLeft: () => step(this, -1),
      ArrowDown: () => step(this, -1),
      ArrowRight: () => step(this, 1),
      ArrowUp: () => step(this, 1),
      PageDown: () => step(this, { percent: -1 }),
      PageUp: () => step(this, { percent: 1 }),
      Home: () => place(this, 1),
      End: () => place(this, Infinity),
    }
    this.element = h("div", {
      class: ["thumb", isSecond && "is-second"],
      role: "slider",
      tabIndex: 0,
      "aria-label": label,
      "aria-valuemin": 1,
      onkeydown: (event) => {
        if (!moves[event.key] || event.ctrlKey || event.metaKey || event.altKey) return
        event.preventDefault()
        moves[event.key]()
      },
    })
  }

  show({ share, position, head, text, isPast }) {
    this.element.style.left = `${share * 100}%`
    this.element.classList.toggle("is-past", isPast)
    this.element.setAttribute("aria-valuemax", Math.max(1, head))
    this.element.setAttribute("aria-valuenow", position)
    this.element.setAttribute("aria-valuetext", text)
    this.element.title = text
  }
}
