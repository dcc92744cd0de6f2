// Choosing a stretch of time by dragging, and the line under the pointer.

import { h, setText } from "../core/dom.js"
import { secondTime } from "../core/format.js"

const least = 5

export class Brush {
  /** Whether the pointer is over the rows. */
  isOver = false
  /** Whether the last press moved, so that it was no click. */
  wasDragged = false
  #start = null
  #on

  /** `on.time(x)` is the time at a place of the axis; `on.zoom(from, to)` shows a stretch. */
  constructor(frame, axis, on) {
    this.#on = on
    this.frame = frame
    this.axis = axis
    this.brush = h("div", { class: "brush", hidden: true })
    this.label = h("span", {})
    this.cross = h("div", { class: "cross", hidden: true, "aria-hidden": "true" }, this.label)
    frame.append(this.cross, this.brush)
    frame.addEventListener("pointerenter", () => (this.isOver = true))
    frame.addEventListener("pointerleave", () => {
      this.isOver = false
      this.cross.hidden = true
    })
    frame.addEventListener("pointerdown", (event) => this.#press(event))
    frame.addEventListener("pointermove", (event) => this.#move(event))
    frame.addEventListener("pointerup", (event) => this.#release(event))
    frame.addEventListener("pointercancel", () => this.#end())
    frame.addEventListener("keydown", (event) => event.key === "Escape" && this.#end())
  }

  #place(event) {
    const box = this.axis.getBoundingClientRect()
    const outer = this.frame.getBoundingClientRect()
    return {
      x: Math.max(0, Math.min(box.width, event.clientX - box.left)),
      left: box.left - outer.left,
      isInside: event.clientX >= box.left && event.clientX <= box.right,
    }
  }

  #press(event) {
    this.wasDragged = false
    const place = this.#place(event)
    // A finger that moves over the rows scrolls them; over the axis it chooses.
    if (event.button !== 0 || !place.isInside || (event.pointerType !== "mouse" && !this.axis.contains(event.target)))
      return
    this.#start = place.x
  }

  #move(event) {
    const { x, left, isInside } = this.#place(event)
    const time = this.#on.time(x)
    this.cross.hidden = !isInside || time === null
    if (!this.cross.hidden) {
      this.cross.style.left = `${left + x}px`
      this.cross.classList.toggle("is-right", x > this.axis.clientWidth - 150)
      setText(this.label, secondTime(time))
    }
    if (this.#start === null || Math.abs(x - this.#start) < least) return
    if (!this.wasDragged) {
      this.wasDragged = true
      this.frame.setPointerCapture(event.pointerId)
      getSelection().removeAllRanges()
    }
    this.brush.hidden = false
    this.brush.style.left = `${left + Math.min(x, this.#start)}px`
    this.brush.style.width = `${Math.abs(x - this.#start)}px`
    event.preventDefault()
  }

  #release(event) {
    const start = this.#start
    const { x } = this.#place(event)
    this.#end()
    if (start === null || !this.wasDragged) return
    const [from, to] = [this.#on.time(Math.min(start, x)), this.#on.time(Math.max(start, x))]
    if (from !== null) this.#on.zoom(from, to)
  }

  #end() {
    this.#start = null
    this.brush.hidden = true
  }
}
