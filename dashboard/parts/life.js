// The life of a job as a branching diagram: queued, running, and the two ends, with the times at
// which it came to each, and marks where it was truncated.
import { fill, h } from "../core/dom.js"
import { duration, fullTime, number, plural, time } from "../core/format.js"

const box = { width: 156, height: 58 }

/**
 * `life` is `{queued, running, end, truncated, truncatedCount}`: events of the audit trail, or null.
 * `status` is that of the job's row, `now` the moment up to which a running job has run, and
 * `time(event)` when an event happened, in milliseconds.
 */
export class LifeDiagram {
  root = h("div", { class: "life" })
  #life = null
  #width = 0

  constructor() {
    // The width comes from the observer: asking for it would make the browser lay out the page.
    new ResizeObserver(([entry]) => {
      this.#width = entry.contentRect.width
      this.#draw()
    }).observe(this.root)
  }

  show(life) {
    this.#life = life
    this.#draw()
  }

  #draw() {
    if (this.#life && this.#width > 0) render(this.root, this.#life, this.#width)
  }
}

function render(root, life, width) {
  const isWide = width >= 600
  const places = isWide ? wide(width) : narrow(width)
  const svg = h("svg", {
    viewBox: `0 0 ${width} ${places.height}`,
    width,
    height: places.height,
    role: "img",
    "aria-label": inWords(life),
  })
  for (const edge of edges(life)) svg.append(line(edge, places, isWide))
  for (const state of states(life)) svg.append(node(state, places[state.name], life.time, isWide))
  fill(root, svg)
}

function wide(width) {
  const middle = (width - box.width) / 2
  const right = width - box.width - 1
  return {
    height: 176,
    queued: { x: 1, y: 59 },
    running: { x: middle, y: 59 },
    finished: { x: right, y: 4 },
    failed: { x: right, y: 114 },
  }
}

function narrow(width) {
  const middle = (width - box.width) / 2
  return {
    height: 320,
    queued: { x: middle, y: 1 },
    running: { x: middle, y: 125 },
    finished: { x: 1, y: 257 },
    failed: { x: width - box.width - 1, y: 257 },
  }
}

function states(life) {
  const { queued, running, end } = life
  const marks = life.truncated.length > 0 ? life.truncatedCount : 0
  const cutInQueue = running ? life.truncated.filter(mark => mark.position < running.position).length : marks
  return [
    { name: "queued", event: queued, isNow: life.status === "queued", marks: Math.min(cutInQueue, marks) },
    { name: "running", event: running, isNow: life.status === "running", marks: running ? marks - cutInQueue : 0 },
    { name: "finished", event: end?.type === "finished" ? end : null, isNow: life.status === "finished", marks: 0 },
    { name: "failed", event: end?.type === "failed" ? end : null, isNow: life.status === "failed", marks: 0 },
  ]
}

function node({ name, event, isNow, marks }, { x, y }, happened, isWide) {
  const group = h("g", { class: ["state", event ? "reached" : "open", isNow && "now"], "data-state": name })
  group.append(h("rect", { x, y, width: box.width, height: box.height, rx: 8 }))
  group.append(shape(name, x + 12, y + 13), h("text", { x: x + 32, y: y + 23, class: "state-name" }, name))
  if (isNow)
    group.append(h("text", { x: x + box.width - 12, y: y + 23, class: "state-note", "text-anchor": "end" }, "now"))
  const detail = event ? `${time(happened(event))} · #${number(event.position)}` : "not reached"
  group.append(h("text", { x: x + 12, y: y + 45, class: "state-time" }, detail))
  if (event) group.append(h("svg:title", {}, `${name} since ${fullTime(happened(event))}, position ${event.position}`))
  if (marks > 0) group.append(isWide ? flag(x + 12, y + box.height, marks) : flag(x + box.width + 6, y + 18, marks))
  return group
}

/** The shapes of the badges, so that a state is told without its colour. */
function shape(name, x, y) {
  const paths = {
    queued: "M6 1a5 5 0 100 10A5 5 0 006 1z",
    running: "M2 1v11l9-5.5z",
    finished: "M1 6l4 4 6-8",
    failed: "M1.5 1.5l9 9M10.5 1.5l-9 9",
  }
  return h("path", {
    d: paths[name],
    transform: `translate(${x} ${y})`,
    class: ["shape", name === "running" && "solid"],
  })
}

/** A mark under a state in which the job was truncated. */
function flag(x, y, count) {
  return h(
    "g",
    { class: "flag" },
    h("path", { d: `M${x} ${y}v22M${x} ${y + 8}h12l-3 5 3 5h-12` }),
    h("text", { x: x + 18, y: y + 19 }, count === 1 ? "truncated" : `truncated ×${number(count)}`),
  )
}

function edges(life) {
  const { queued, running, end, now, time: happened } = life
  const took = (from, to) => (from && (to || now) ? duration((to ? happened(to) : now) - happened(from)) : "")
  const viaRunning = running !== null
  return [
    { from: "queued", to: "running", isTaken: viaRunning, text: viaRunning ? `waited ${took(queued, running)}` : "" },
    ...["finished", "failed"].map(name => ({
      from: viaRunning || !end ? "running" : "queued",
      to: name,
      isTaken: end?.type === name,
      text: end?.type === name ? `${viaRunning ? "ran" : "waited"} ${took(running ?? queued, end)}` : "",
    })),
  ].concat(
    life.status === "running"
      ? [{ from: "running", to: "running", isTaken: true, text: `running for ${took(running, null)}` }]
      : [],
  )
}

function line({ from, to, isTaken, text }, places, isWide) {
  const group = h("g", { class: ["edge", isTaken ? "taken" : "open"] })
  const [a, b] = [places[from], places[to]]
  if (from === to) {
    const [x, y] = isWide ? [a.x + box.width / 2, a.y - 10] : [a.x + box.width + 8, a.y + box.height / 2]
    group.append(
      h("text", { x, y, "text-anchor": isWide ? "middle" : "start" }, isWide ? text : text.replace("running ", "")),
    )
    return group
  }
  const [x1, y1] = isWide ? [a.x + box.width, a.y + box.height / 2] : [a.x + box.width / 2, a.y + box.height]
  const [x2, y2] = isWide ? [b.x, b.y + box.height / 2] : [b.x + box.width / 2, b.y]
  // From queued to an end, round the state in between.
  const isLong = from === "queued" && to !== "running"
  const bend = isWide ? (x1 + x2) / 2 : (y1 + y2) / 2
  const path = isWide
    ? isLong
      ? `M${x1 - 60} ${a.y + (y2 < y1 ? 0 : box.height)}Q${x1 - 20} ${y2} ${x1 + 40} ${y2}L${x2 - 6} ${y2}`
      : `M${x1} ${y1}C${bend} ${y1} ${bend} ${y2} ${x2 - 6} ${y2}`
    : isLong
      ? `M${a.x + (x2 < x1 ? 20 : box.width - 20)} ${y1}C${x2} ${y1 + 50} ${x2} ${y2 - 80} ${x2} ${y2 - 6}`
      : `M${x1} ${y1}C${x1} ${bend} ${x2} ${bend} ${x2} ${y2 - 6}`
  group.append(h("path", { d: path, class: "way" }))
  group.append(
    h("path", { class: "tip", d: isWide ? `M${x2 - 8} ${y2 - 5}l8 5-8 5z` : `M${x2 - 5} ${y2 - 8}l5 8 5-8z` }),
  )
  if (text) group.append(label(text, { x1, y1, x2, y2 }, isWide))
  return group
}

function label(text, { x1, y1, x2, y2 }, isWide) {
  if (!isWide)
    return h(
      "text",
      { x: (x1 + x2) / 2 + (x2 < x1 ? -10 : 10), y: (y1 + y2) / 2 + 4, "text-anchor": x2 < x1 ? "end" : "start" },
      text,
    )
  const down = y2 > y1
  return h(
    "text",
    {
      x: (x1 + x2) / 2 + (y1 === y2 ? 0 : 26),
      y: y1 === y2 ? y1 - 8 : down ? y2 + 18 : y2 - 9,
      "text-anchor": "middle",
    },
    text,
  )
}

/** The same as the diagram, for those who do not see it. */
function inWords(life) {
  const at = event => `at ${fullTime(life.time(event))}, position ${event.position}`
  const parts = ["The life of the job."]
  if (life.queued) parts.push(`Queued ${at(life.queued)}.`)
  parts.push(life.running ? `Running ${at(life.running)}.` : "It has not reported progress.")
  if (life.truncated.length > 0)
    parts.push(`Truncated ${plural(life.truncatedCount, "time")}, first ${at(life.truncated[0])}.`)
  parts.push(life.end ? `${life.end.type === "failed" ? "Failed" : "Finished"} ${at(life.end)}.` : "It has not ended.")
  return parts.join(" ")
}
