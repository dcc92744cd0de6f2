// Two moments compared: the jobs that differ, value by value, with the events that made the
// difference.
import { get } from "../core/api.js"
import { change, here, link } from "../core/address.js"
import { fill, h, setText, stylesheet } from "../core/dom.js"
import { fullTime, number, plural } from "../core/format.js"
import { pretty } from "../core/json.js"
import { timeOf } from "../core/moment.js"
import { badge } from "../parts/badge.js"
import { elements, member, members } from "../parts/raw-json.js"
import { empty, problem } from "../parts/problem.js"

const pageSize = 25
const long = 120
const states = new Set(["queued", "running", "finished", "failed"])

class CompareView {
  constructor(root, context) {
    Object.assign(this, { signal: context.signal, announce: context.announce })
    this.from = this.input("from", "From")
    this.to = this.input("to", "To")
    this.job = h("input", {
      name: "job",
      type: "text",
      size: 18,
      autocomplete: "off",
      spellcheck: false,
      placeholder: "all jobs",
    })
    this.count = h("span", { class: "muted", role: "status" })
    this.list = h("div", { class: "stack" })
    this.more = h("div", { class: "toolbar" })
    fill(
      root,
      h(
        "div",
        { class: "page compare" },
        h("header", {}, h("h1", {}, "Compare two moments"), this.count),
        h(
          "form",
          { class: "panel", onsubmit: event => this.submit(event) },
          h(
            "div",
            { class: "body toolbar compare-form" },
            this.from.field,
            this.to.field,
            h("label", { class: "field" }, h("span", {}, "Job"), this.job),
            h("button", { type: "submit", class: "primary" }, "Compare"),
            h(
              "button",
              { type: "button", title: "Exchange the two moments", onclick: () => this.exchange() },
              "⇄ Exchange",
            ),
          ),
        ),
        this.list,
        this.more,
      ),
    )
  }

  input(name, label) {
    const input = h("input", {
      name,
      type: "text",
      size: 26,
      autocomplete: "off",
      spellcheck: false,
      placeholder: "position, time or now",
    })
    const note = h("span", { class: "small muted" })
    return { input, note, field: h("label", { class: "field" }, h("span", {}, label), input, note) }
  }

  submit(event) {
    event.preventDefault()
    const text = ({ input }) => input.value.trim()
    change({ from: text(this.from) || null, to: text(this.to) || null, job: this.job.value || null, after: null })
  }

  exchange() {
    change({ from: this.to.input.value.trim() || null, to: this.from.input.value.trim() || null, after: null })
  }

  /** A moment of the form: empty or "now" is the end of the log. */
  async resolve(text) {
    if (text && text !== "now") return text
    const { value } = await get("/v1/moments", { points: 2 }, { signal: this.signal })
    return String(value.head)
  }

  async show(params) {
    const turn = (this.turn = (this.turn ?? 0) + 1)
    const [from, to, job] = ["from", "to", "job"].map(name => params.get(name))
    this.from.input.value = from ?? ""
    this.to.input.value = to ?? ""
    this.job.value = job ?? ""
    for (const { note } of [this.from, this.to]) setText(note, "")
    fill(this.more)
    if (from === null) {
      setText(this.count, "")
      return fill(
        this.list,
        h(
          "div",
          { class: "panel" },
          empty(
            "Which moments?",
            "Give two moments, as positions or times, or pull the two handles of the time bar apart.",
            h("button", { type: "button", onclick: () => this.lastHour() }, "The last hour"),
            h("button", { type: "button", onclick: () => change({ from: "0", to: "now" }) }, "The whole log"),
          ),
        ),
      )
    }
    this.list.classList.add("loading")
    try {
      const [a, b] = await Promise.all([this.resolve(from), this.resolve(to)])
      const isSwapped = /^\d+$/.test(a) && /^\d+$/.test(b) && Number(a) > Number(b)
      const [first, last] = isSwapped ? [b, a] : [a, b]
      const answer = await get(
        "/v1/diff",
        { from: first, to: last, job, after: params.get("after"), limit: pageSize },
        { signal: this.signal },
      )
      if (turn !== this.turn) return
      this.draw(answer, params, isSwapped)
    } catch (error) {
      if (this.signal.aborted || turn !== this.turn) return
      setText(this.count, "")
      fill(
        this.list,
        problem(error, () => this.show(here().params)),
      )
    }
    this.list.classList.remove("loading")
  }

  lastHour() {
    change({ from: new Date(Date.now() - 3_600_000).toISOString().replace(/\.\d+/, ""), to: "now" })
  }

  draw({ value, source }, params, isSwapped) {
    const rows = elements(member(source, "jobs"))
    const { from, to, next } = value
    const word = next || params.get("after") ? "on this page" : ""
    setText(
      this.count,
      `${plural(rows.length, "job")} ${rows.length === 1 ? "differs" : "differ"} ${word} ` +
        `between position ${number(from)} and ${number(to)}`,
    )
    this.announce(this.count.textContent)
    this.noteTime(isSwapped ? this.to : this.from, from)
    this.noteTime(isSwapped ? this.from : this.to, to)
    fill(
      this.list,
      isSwapped &&
        h(
          "p",
          { class: "warning" },
          h(
            "div",
            {},
            "The second moment is before the first: what is shown is the change from the earlier to the later.",
          ),
        ),
      rows.length === 0
        ? h("div", { class: "panel" }, empty("Nothing differs", "Every job's row is the same at both moments."))
        : value.jobs.map((job, index) => this.row(job, rows[index], to)),
    )
    fill(
      this.more,
      params.get("after") && h("button", { type: "button", onclick: () => change({ after: null }) }, "⇤ First page"),
      next &&
        h(
          "button",
          {
            type: "button",
            onclick: () => change({ after: new URL(next, location.origin).searchParams.get("after") }),
          },
          "Next page →",
        ),
    )
  }

  async noteTime({ note }, position) {
    const time = position === 0 ? null : await timeOf(position, this.signal).catch(() => null)
    setText(
      note,
      `position ${number(position)}${time ? `, ${fullTime(time)}` : position === 0 ? ", before the first event" : ""}`,
    )
  }

  row(job, source, to) {
    const changes = elements(member(source, "changes") ?? "[]").map(text => Object.fromEntries(members(text)))
    const state = job.before === null ? badge("running", "new") : job.after === null ? badge("bad", "gone") : null
    return h(
      "section",
      { class: "panel diff-job" },
      h(
        "header",
        {},
        h("h2", { class: "name" }, link(`/jobs/${encodeURIComponent(job.id)}`, { at: to }, job.id)),
        state,
        job.after?.name && h("span", { class: "muted name" }, job.after.name),
        h("span", { class: "spacer" }),
        h("span", { class: "muted small" }, plural(changes.length, "value")),
      ),
      h(
        "div",
        { class: "table-scroll", tabIndex: 0, role: "region", "aria-label": `What changed of ${job.id}` },
        h(
          "table",
          { class: "table diff" },
          h(
            "thead",
            {},
            h(
              "tr",
              {},
              ["Value", "Before", "After", "Set by"].map(text => h("th", { scope: "col" }, text)),
            ),
          ),
          h(
            "tbody",
            {},
            changes.map((one, index) =>
              h(
                "tr",
                {},
                h("th", { scope: "row" }, job.changes[index].column),
                h("td", {}, job.before === null ? h("span", { class: "none" }, "no row") : value(one.before)),
                h("td", { class: "after" }, value(one.after)),
                h("td", {}, setBy(job.id, job.changes[index].event)),
              ),
            ),
          ),
        ),
      ),
    )
  }
}

/** A value as it stands in the answer. */
function value(json) {
  if (json === undefined || json === "null") return h("span", { class: "none" }, "null")
  const isText = json.startsWith('"')
  const text = isText ? JSON.parse(json) : json
  if (states.has(text)) return badge(text)
  if (isText && /^\d{4}-\d\d-\d\dT/.test(text)) return h("time", { dateTime: text, title: text }, fullTime(text))
  if (text.length <= long) return h("span", { class: isText ? "name" : "mono" }, text)
  return h(
    "details",
    {},
    h("summary", {}, h("span", { class: "name" }, `${text.slice(0, long)}…`)),
    h(
      "pre",
      { class: "json", tabIndex: 0, role: "region", "aria-label": "The whole value" },
      (isText ? text : pretty(json)).slice(0, 200_000),
    ),
  )
}

function setBy(job, event) {
  if (!event?.position) return h("span", { class: "none" }, "no event")
  return [
    link(
      `/jobs/${encodeURIComponent(job)}`,
      { at: null, ev: event.position, event: event.position },
      `#${number(event.position)}`,
    ),
    ` ${event.type} `,
    event.actor && h("span", { class: "name" }, `by ${event.actor} `),
    h("span", { class: "muted small" }, fullTime(event.recorded_at)),
  ]
}

export default {
  title: params =>
    `Compare ${params.get("from") ?? ""}${params.get("from") ? " and " : ""}${params.get("to") ?? ""}`.trim(),
  async mount(root, context) {
    await Promise.all([stylesheet("compare"), stylesheet("proof")])
    const view = new CompareView(root, context)
    view.show(context.params)
    return { update: (params, { quick } = {}) => quick || view.show(params) }
  },
}
