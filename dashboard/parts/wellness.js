// The panel that says whether all is well.

import { link } from "../core/address.js"
import { fill, h } from "../core/dom.js"
import { number, plural } from "../core/format.js"
import { badge } from "./badge.js"

function item(one) {
  const mark = one.level === "bad" ? badge("bad", "broken") : badge("warn", "look")
  return h("li", {}, mark, h("span", {}, one.text, one.detail && h("span", { class: "muted" }, `: ${one.detail}`)))
}

export class Wellness {
  #shown = ""
  #announce

  constructor(announce) {
    this.#announce = announce
    const text = h("div", { class: "text" }, h("h2", {}, "…"))
    this.element = h("section", { class: "wellness", "aria-label": "Is all well?" }, text)
  }

  /** `status` and `problems` as `health` gives them. */
  show(status, problems) {
    const operations = link("/operations", {}, "Operations")
    if (problems.length === 0) {
      const parts = `${plural(status.projections?.length ?? 0, "projection")} up to date, the relay and the seal run.`
      const head = ` The log ends at position ${number(status.head)}. `
      return this.#say("good", "All is well", h("p", { class: "muted small" }, parts, head, operations))
    }
    const title = problems.length === 1 ? problems[0].text : `${number(problems.length)} things need a look`
    this.#say(problems[0].level, title, h("ul", {}, problems.map(item), h("li", { class: "small" }, operations)))
  }

  unknown(error) {
    this.#say("bad", "It is not known whether all is well", h("p", {}, error.detail ?? error.message))
  }

  past() {
    const text = "How the parts of the ledger are is known for now only. The jobs are as they were."
    this.#say("past", "You are looking at the past", h("p", { class: "muted small" }, text))
  }

  #say(level, title, more) {
    const text = `${level} ${title} ${more.textContent}`
    if (this.#shown === text) return
    this.#shown = text
    if (this.element.dataset.level && this.element.dataset.level !== level) this.#announce(title)
    this.element.dataset.level = level
    fill(this.element, h("div", { class: "text" }, h("h2", {}, title), more))
  }
}
