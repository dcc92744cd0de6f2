// The banner that says that one looks at the past.

import { fill, h } from "../core/dom.js"
import { ago, fullTime, number } from "../core/format.js"
import { timeOf } from "../core/moment.js"

export class PastBanner {
  #turn = 0

  constructor(toNow) {
    this.words = h("span", {})
    const back = h("button", { type: "button", onclick: toNow }, "Back to now ", h("kbd", {}, "L"))
    this.element = h("div", { class: "past", role: "status", hidden: true }, this.words, back)
  }

  get isShown() {
    return !this.element.hidden
  }

  hide() {
    this.#turn += 1
    this.element.hidden = true
  }

  #say(...words) {
    this.element.hidden = false
    fill(this.words, ...words)
  }

  /** A moment that cannot be shown, and why. */
  refuse(reason) {
    this.#turn += 1
    this.#say(h("strong", {}, "This moment cannot be shown. "), reason)
  }

  /** A position, `null` while it is not known; `estimate` is about when it was. */
  async show(position, { head, estimate, isQuick }) {
    const mine = ++this.#turn
    if (position === null) return this.#say("…")
    if (head > 0 && position > head) {
      return this.#say(
        h("strong", {}, `There is no position ${number(position)} yet. `),
        `The log ends at ${number(head)}.`,
      )
    }
    const say = (when) => {
      const time = when && `, ${fullTime(when)} (${ago(when)})`
      this.#say("You are looking at ", h("strong", {}, `position ${number(position)}`), time, ". ")
    }
    if (isQuick || !this.isShown) say(estimate)
    if (isQuick) return
    const exact = await timeOf(position).catch(() => null)
    if (mine === this.#turn) say(exact ?? estimate)
  }
}
