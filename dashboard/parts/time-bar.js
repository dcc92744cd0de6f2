// One bar over every view: which moment of the ledger is shown. On the page that compares it has two
// handles.

import { change, here, link } from "../core/address.js"
import { get } from "../core/api.js"
import { fill, h, setText, stylesheet } from "../core/dom.js"
import { fullTime, number, time } from "../core/format.js"
import { bind, store, stored } from "../core/keys.js"
import { live } from "../core/live.js"
import * as moment from "../core/moment.js"
import { momentInput, positionOf } from "./moment-input.js"
import { PastBanner } from "./past-banner.js"
import { Handle } from "./time-handle.js"
import { drawMarks } from "./time-marks.js"
import { TimeScale } from "./time-scale.js"

const quickEvery = 120
const points = 300
const renewAfter = 30_000

class TimeBar {
  #scale = null
  #moments = []
  #head = 0
  #readAt = 0
  #byTime = stored("time-bar", "time") === "time"
  #dual = false
  #choosing = false
  #from = null
  #to = null
  #isAddressRead = false
  #problem = null
  #dragged = null
  #quickTimer = null
  #quickAt = 0
  #stepped = 0
  #turn = 0
  #announce

  constructor(root, { announce, signal }) {
    this.#announce = announce
    this.#build(root)
    bind(
      "Time",
      [
        { key: "[", text: "one event back", run: () => this.#step(-1) },
        { key: "]", text: "one event on", run: () => this.#step(1) },
        { key: "L", text: "back to now", run: () => this.#toNow() },
        { key: "@", text: "go to a position or time", run: () => this.input.focus() },
        { show: "← → PgUp PgDn", text: "on the bar: one event, one percent" },
      ],
      { signal },
    )
    window.addEventListener("address", () => this.#readAddress(), { signal })
    window.addEventListener("live", () => this.#follow(), { signal })
    live.subscribe((events) => this.#follow(events.at(-1)), { signal })
    this.#read()
    this.#readAddress()
  }

  #build(root) {
    const by = (name, byTime) =>
      h("button", { type: "button", "data-by": name, onclick: () => this.#switch(byTime) }, name)
    this.by = h(
      "div",
      { class: "by", role: "group", "aria-label": "The bar goes by" },
      by("Time", true),
      by("Position", false),
    )
    this.#buildTrack()
    const { form, input } = momentInput({
      head: () => this.#head,
      place: (position) => this.#place(this.main, position),
    })
    this.input = input
    this.compare = h(
      "button",
      {
        type: "button",
        "aria-pressed": "false",
        title: "Choose two moments and compare them",
        onclick: () => this.#toggleCompare(),
      },
      "Compare",
    )
    this.open = link("/compare", {}, "")
    this.open.className = "button"
    this.open.hidden = true
    const step = (text, label, by) =>
      h("button", { type: "button", title: label, "aria-label": label, onclick: () => this.#step(by) }, text)
    this.element = h(
      "section",
      { class: "time-bar", "aria-label": "Time" },
      this.by,
      this.track,
      h(
        "div",
        { class: "right" },
        step("‹", "One event back ( [ )", -1),
        step("›", "One event on ( ] )", 1),
        form,
        this.compare,
        this.open,
      ),
    )
    this.past = new PastBanner(() => this.#toNow())
    fill(root, this.element, this.past.element)
  }

  #buildTrack() {
    this.line = h("div", { class: "done" })
    this.marks = h("div", {})
    this.hover = h("div", { class: "hover", hidden: true, "aria-hidden": "true" })
    const handle = (label, isSecond) =>
      new Handle({
        label,
        isSecond,
        step: (which, by) => this.#keyStep(which, by),
        place: (which, position) => this.#place(which, position),
      })
    this.main = handle("The moment shown", false)
    this.second = handle("Compared from", true)
    this.track = h(
      "div",
      {
        class: "track",
        onpointerdown: (event) => this.#grab(event),
        onpointermove: (event) => this.#move(event),
        onpointerup: (event) => this.#release(event),
        onpointercancel: () => this.#giveUp(),
        onpointerleave: () => (this.hover.hidden = this.#dragged === null),
      },
      h("div", { class: "line" }),
      this.line,
      this.marks,
      this.second.element,
      this.main.element,
      this.hover,
    )
  }

  async #read() {
    this.#readAt = performance.now()
    try {
      const { value } = await get("/v1/moments", { points })
      this.#moments = value.moments
      this.#head = Math.max(value.head, live.head)
      this.#rescale()
    } catch (error) {
      if (error.status !== 401) setTimeout(() => this.#read(), 3000)
    }
  }

  /** The log grows: the end of the bar is its head. */
  #follow(event) {
    const head = Math.max(live.head, live.position)
    if (head < this.#head || this.#readAt === 0) {
      // Another ledger, or one that has lost its last events.
      if (head > 0 && head < this.#head && live.state === "live") this.#read()
      return
    }
    const isNew = head > this.#head
    this.#head = head
    if (event && this.#moments.length > 0) this.#latest = { position: event.position, recorded_at: event.recorded_at }
    if (isNew && performance.now() - this.#readAt > (this.#moments.length < 20 ? 2000 : renewAfter))
      return void this.#read()
    if (isNew) this.#later()
  }

  #latest = null
  #redraw = null

  #later() {
    this.#redraw ??= setTimeout(() => {
      this.#redraw = null
      if (this.#moments.length === 0) this.#read()
      else this.#rescale()
    }, 1000)
  }

  #rescale() {
    const last = this.#moments.at(-1)
    const moments =
      last && this.#latest && this.#latest.position > last.position ? [...this.#moments, this.#latest] : this.#moments
    this.element.hidden = moments.length === 0
    this.#scale = moments.length === 0 ? null : new TimeScale(moments, this.#byTime)
    this.#marks()
    this.#draw()
    if (this.past.isShown) this.#sayPast()
  }

  #switch(byTime) {
    this.#byTime = byTime
    store("time-bar", byTime ? "time" : "position")
    this.#rescale()
  }

  #marks() {
    for (const button of this.by.children)
      button.setAttribute("aria-pressed", String((button.dataset.by === "Time") === this.#byTime))
    const scale = this.#scale
    if (!scale) return
    drawMarks(this.marks, scale, this.#head)
  }

  async #readAddress() {
    const { path, params } = here()
    this.#dual = path === "/compare"
    if (this.#dual) this.#choosing = false
    const mine = ++this.#turn
    const texts = this.#dual ? [params.get("from"), params.get("to")] : [null, params.get("at")]
    this.#isAddressRead = true
    this.#problem = null
    try {
      const [from, to] = await Promise.all(texts.map((text) => (text && text !== "now" ? positionOf(text) : null)))
      if (mine !== this.#turn) return
      if (!this.#choosing) this.#from = from
      this.#to = to
    } catch (error) {
      if (mine !== this.#turn) return
      this.#problem = error.detail ?? String(error)
    }
    this.#draw()
    this.#sayPast()
  }

  #draw() {
    if (!this.#scale || !this.#isAddressRead) return
    const scale = this.#scale
    const to = this.#dragged?.which === "main" ? this.#dragged.position : (this.#to ?? this.#head)
    const isTwo = this.#dual || this.#choosing
    const from = this.#dragged?.which === "second" ? this.#dragged.position : (this.#from ?? 1)
    const said = (position) =>
      position >= this.#head
        ? `now, position ${number(this.#head)}`
        : `position ${number(position)}, ${time(scale.timeOf(position))}`
    this.main.show({
      share: scale.shareOf(to),
      position: to,
      head: this.#head,
      text: said(to),
      isPast: to < this.#head,
    })
    this.second.element.hidden = !isTwo
    if (isTwo)
      this.second.show({ share: scale.shareOf(from), position: from, head: this.#head, text: said(from), isPast: true })
    const start = isTwo ? Math.min(scale.shareOf(from), scale.shareOf(to)) : 0
    const end = isTwo ? Math.max(scale.shareOf(from), scale.shareOf(to)) : scale.shareOf(to)
    this.line.style.left = start === 0 ? "-7px" : `${start * 100}%`
    this.line.style.width = `calc(${(end - start) * 100}% + ${start === 0 ? 7 : 0}px)`
    this.compare.hidden = this.#dual
    this.compare.setAttribute("aria-pressed", String(this.#choosing))
    this.open.hidden = !this.#choosing
    if (this.#choosing) {
      const [low, high] = [Math.min(from, to), Math.max(from, to)]
      setText(this.open, `${number(low)} with ${number(high)}`)
      this.open.href = `/compare?from=${low}&to=${high}`
    }
  }

  /** The banner of the past. */
  #sayPast() {
    const isQuick = this.#dragged?.which === "main"
    if (this.#dual || (!isQuick && !here().params.has("at"))) return this.past.hide()
    if (this.#problem !== null) return this.past.refuse(this.#problem)
    const position = isQuick ? this.#dragged.position : this.#to
    const estimate = this.#scale && position !== null ? this.#scale.timeOf(position) : null
    this.past.show(position, { head: this.#head, estimate, isQuick })
  }

  #shareOf(event) {
    const box = this.track.getBoundingClientRect()
    return Math.max(0, Math.min(1, (event.clientX - box.left) / box.width))
  }

  #grab(event) {
    if (event.button !== 0 || !this.#scale) return
    event.preventDefault()
    const share = this.#shareOf(event)
    const distance = (position) => Math.abs(this.#scale.shareOf(position) - share)
    const isTwo = this.#dual || this.#choosing
    const which = isTwo && distance(this.#from ?? 1) < distance(this.#to ?? this.#head) ? "second" : "main"
    this.#dragged = { which, position: 0, share }
    this.track.setPointerCapture(event.pointerId)
    this.element.classList.add("is-dragging")
    const handle = which === "main" ? this.main : this.second
    handle.element.focus({ preventScroll: true })
    this.#move(event)
  }

  #move(event) {
    if (!this.#scale) return
    const share = this.#shareOf(event)
    const position = share >= 1 ? this.#head : this.#scale.positionAt(share)
    this.hover.hidden = false
    this.hover.style.left = `${Math.max(0.08, Math.min(0.92, share)) * 100}%`
    setText(this.hover, `${number(position)} · ${fullTime(this.#scale.timeAt(share)).slice(0, 19)}`)
    if (!this.#dragged || position === this.#dragged.position) return
    Object.assign(this.#dragged, { position, share })
    this.#draw()
    if (this.#dragged.which === "main" && !this.#dual) this.#quick()
  }

  /** A quick picture while the handle moves: not each place, but also the last one. */
  #quick() {
    if (this.#quickTimer !== null) return
    this.#quickTimer = setTimeout(
      () => {
        this.#quickTimer = null
        this.#quickAt = performance.now()
        if (!this.#dragged) return
        moment.show(Math.max(1, this.#dragged.position), this.#scale.timeAt(this.#dragged.share))
        this.#sayPast()
      },
      Math.max(0, quickEvery - (performance.now() - this.#quickAt)),
    )
  }

  async #release(event) {
    if (!this.#dragged) return
    this.track.releasePointerCapture(event.pointerId)
    const { which, share } = this.#dragged
    let { position } = this.#dragged
    if (this.#byTime && share < 1 && share > 0) {
      // Between the moments that the bar knows, a time is an estimate; the ledger knows the place.
      const exact = new Date(this.#scale.timeAt(share)).toISOString()
      position = await positionOf(exact).catch(() => position)
    }
    this.#cancel()
    this.#place(which === "main" ? this.main : this.second, position)
  }

  #cancel() {
    clearTimeout(this.#quickTimer)
    this.#quickTimer = null
    this.#dragged = null
    this.element.classList.remove("is-dragging")
    this.hover.hidden = true
  }

  #giveUp() {
    this.#cancel()
    if (moment.isQuick()) moment.show(null)
    this.#draw()
    this.#sayPast()
  }

  /** Shows a position, in the address. */
  #place(handle, wanted, { replace = false } = {}) {
    const position = Math.max(1, Math.min(wanted, this.#head))
    if (handle === this.second || this.#dual) {
      if (handle === this.second) this.#from = position
      else this.#to = position
      if (this.#dual) change({ from: String(this.#from ?? 1), to: String(this.#to ?? this.#head) }, { replace })
      return this.#draw()
    }
    this.#to = position >= this.#head ? null : position
    moment.set(this.#to, { replace })
    this.#draw()
  }

  #keyStep(handle, by) {
    const present = handle === this.main ? (this.#to ?? this.#head) : (this.#from ?? 1)
    const amount =
      typeof by === "number"
        ? by
        : Math.sign(by.percent) * Math.max(1, Math.round((this.#head * Math.abs(by.percent)) / 100))
    // A step after a step is the same journey: going back returns to where it began.
    const replace = performance.now() - this.#stepped < 1500
    this.#stepped = performance.now()
    this.#place(handle, present + amount, { replace })
  }

  #step(by) {
    if (this.#head > 0) this.#keyStep(this.main, by)
  }

  #toNow() {
    this.#cancel()
    if (this.#dual) return
    const isPast = here().params.has("at") || moment.isQuick()
    moment.set(null)
    if (isPast) this.#announce("The page shows now.")
  }

  #toggleCompare() {
    this.#choosing = !this.#choosing
    if (this.#choosing) this.#from = Math.max(1, Math.round((this.#to ?? this.#head) * 0.9))
    this.#draw()
    if (this.#choosing) this.second.element.focus()
  }
}

/** Shows the time bar in `root`. */
export async function timeBar(root, options) {
  await stylesheet("time-bar")
  return new TimeBar(root, options)
}
