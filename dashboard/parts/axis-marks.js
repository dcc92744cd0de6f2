// The labels and lines of a folded time axis.

import { fill, h } from "../core/dom.js"

const px = (value) => `${value.toFixed(1)}px`

/** Fills the axis' element and the backdrop behind the rows, if they show something else. */
export function drawAxis(element, backdrop, axis) {
  const ticks = axis.ticks()
  const folds = axis.folded()
  const wanted = JSON.stringify([ticks, folds, axis.width])
  if (element.shows === wanted) return
  element.shows = wanted
  const label = ({ x, text, isDay }) => {
    // The first label stays inside.
    const left = px(Math.max(isDay ? 54 : 28, x))
    return h("span", { class: isDay && "is-day", style: { left } }, text)
  }
  const fold = ({ x, width, text }) => {
    const left = px(Math.min(axis.width - 30, Math.max(30, x + width / 2)))
    return h("span", { class: "fold", style: { left } }, text)
  }
  const band = ({ x, width }) => h("i", { class: "fold", style: { left: px(x), width: px(width) } })
  fill(element, ticks.map(label), folds.map(fold))
  fill(
    backdrop,
    ticks.map(({ x }) => h("i", { style: { left: px(x) } })),
    folds.map(band),
  )
}
