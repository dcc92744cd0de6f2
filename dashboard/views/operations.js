// How the ledger itself is: its head, its readers, rebuilds, receipts, what is stopped and why.
import { get, text } from "../core/api.js"
import { fill, h, setText, stylesheet } from "../core/dom.js"
import { number, plural, rate } from "../core/format.js"
import { badge } from "../parts/badge.js"
import { age, deliveryLag, metricSum, stoppedOf, troubles } from "../parts/ops-state.js"
import { epochsAndLosses, readerTable, readiness, rebuildTable, receiptTable, stoppedBox } from "../parts/ops-tables.js"
import { problem } from "../parts/problem.js"

const interval = 2000
/** Receipts change rarely. */
const receiptsEvery = 5

class OperationsView {
  constructor(root, context) {
    this.signal = context.signal
    this.announce = context.announce
    this.verdict = h("div", { class: "verdict-line", role: "status" })
    this.problem = h("div")
    this.parts = Object.fromEntries(
      ["figures", "readers", "stopped", "rebuilds", "receipts", "checks", "streams", "history"].map(name => [
        name,
        h("div"),
      ]),
    )
    this.sections = new Map()
    const section = (name, title, note) => {
      fill(this.parts[name], h("p", { class: "muted body" }, "Reading"))
      const panel = h(
        "section",
        { class: `panel ops-${name}`, "aria-labelledby": `ops-${name}` },
        h("header", {}, h("h2", { id: `ops-${name}` }, title), note && h("span", { class: "muted small" }, note)),
        this.parts[name],
      )
      this.sections.set(name, panel)
      return panel
    }
    fill(
      root,
      h(
        "div",
        { class: "page operations" },
        h(
          "header",
          {},
          h("h1", {}, "Operations"),
          this.verdict,
          h("span", { class: "spacer" }),
          (this.age = h("span", { class: "muted small" })),
        ),
        this.problem,
        this.parts.stopped,
        this.parts.figures,
        h(
          "div",
          { class: "ops-grid" },
          h(
            "div",
            { class: "ops-column" },
            section("readers", "Readers of the log", "each is a fold over the positions"),
            section("rebuilds", "Rebuilds"),
            section("receipts", "Receipts", "nobody can change or remove one"),
          ),
          h(
            "div",
            { class: "ops-column" },
            section("checks", "Ready?"),
            section("streams", "Streams", "of this service, since its start"),
            section("history", "Epochs and losses"),
          ),
        ),
      ),
    )
    this.round = 0
    this.drawn = new Map()
  }

  /** Draws a part where what it shows has changed, so that a selection or the focus stays. */
  part(name, state, draw) {
    const key = JSON.stringify(state)
    if (this.drawn.get(name) === key) return
    this.drawn.set(name, key)
    fill(this.parts[name], draw())
  }

  async read() {
    const wantsReceipts = this.round % receiptsEvery === 0
    this.round += 1
    const { signal } = this
    const results = await Promise.allSettled([
      get("/v1/status", {}, { signal }),
      ready(signal),
      text("/metrics", {}, { signal }),
      wantsReceipts ? get("/v1/receipts", { limit: 20 }, { signal }) : null,
    ])
    if (signal.aborted) return
    const [status, checks, metrics, receipts] = results
    fill(this.problem, status.status === "rejected" && problem(status.reason, () => this.read()))
    setText(this.age, status.status === "fulfilled" ? "every 2 s while this page is seen" : "the figures below are old")
    if (status.status === "fulfilled") this.drawStatus(status.value.value, metrics.value)
    this.drawVerdict(status, checks)
    if (checks.status === "fulfilled") this.part("checks", checks.value, () => readiness(checks.value))
    if (metrics.status === "fulfilled") this.drawStreams(metrics.value)
    if (receipts.status === "fulfilled" && receipts.value) {
      const list = receipts.value.value.receipts
      this.part("receipts", list, () => receiptTable(list))
    } else if (receipts.status === "rejected") {
      this.part("receipts", receipts.reason.message, () => h("div", { class: "body" }, problem(receipts.reason, null)))
    }
  }

  drawVerdict(status, checks) {
    const found =
      status.status === "fulfilled"
        ? troubles(status.value.value)
        : [{ tone: "bad", text: "the status cannot be read" }]
    if (checks.status === "fulfilled") {
      for (const check of checks.value.checks ?? [])
        if (!check.ready && check.needed) found.push({ tone: "bad", text: `${check.name}: ${check.detail}` })
    }
    const tone = found.some(one => one.tone === "bad") ? "bad" : found.length > 0 ? "warn" : "good"
    const words =
      found.length === 0
        ? "All is well"
        : found
            .slice(0, 3)
            .map(one => one.text)
            .join("; ") + (found.length > 3 ? `; and ${found.length - 3} more` : "")
    if (this.words === words) return
    this.words = words
    fill(this.verdict, badge(tone, words))
  }

  drawStatus(status, metrics) {
    const figures = [
      ["Head", number(status.head), "the last position of the log"],
      [
        "Appends",
        status.append_rate === undefined
          ? "–"
          : Number(status.append_rate) === 0
            ? "none"
            : rate(Number(status.append_rate)),
        "over the last minute",
      ],
      [
        "Durability",
        status.durability,
        status.durable === undefined ? "of what it demands" : `reached up to ${number(status.durable)}`,
      ],
      [
        "Sealed",
        number(status.seal.position),
        status.seal.lag > 0 ? `${plural(status.seal.lag, "event")} not yet` : "up to the head",
      ],
      ["Server", status.role, status.timeline ? `timeline ${status.timeline}` : "follows another server"],
      ["Streams open", metricSum(metrics, "jobledger_subscribers"), "of this service"],
    ]
    this.part("figures", figures, () =>
      h(
        "dl",
        { class: "figures" },
        figures.map(([name, value, note]) =>
          h(
            "div",
            { class: "panel" },
            h("dt", {}, name),
            h("dd", {}, h("strong", {}, value), h("span", { class: "muted small" }, note)),
          ),
        ),
      ),
    )
    const readers = [
      { name: "relay", kind: "to Redis", ...status.relay },
      ...status.projections.map(one => ({ kind: "projection", ...one })),
      { name: "seal", kind: "signed tree", ...status.seal },
    ]
    const ages = readers.map(one => age(one))
    this.part("readers", [readers, ages], () => readerTable(readers, ages, status.head))
    const stopped = stoppedOf(status)
    this.part("stopped", stopped, () => stopped.map(stoppedBox))
    this.part(
      "rebuilds",
      status.rebuilds.map(one => [one, this.speedOf(one)]),
      () => rebuildTable(status.rebuilds, one => this.speedOf(one)),
    )
    const { epochs, losses, lost_events: lost, holder, clock_ahead_seconds: ahead, standbys } = status
    this.part("history", [epochs, losses, lost, holder, ahead, standbys], () => epochsAndLosses(status))
    this.noteRebuilds(status.rebuilds)
  }

  /** Where the service does not say how fast a rebuild is, the page measures it. */
  noteRebuilds(rebuilds) {
    this.before ??= new Map()
    const time = performance.now()
    for (const { projection, position } of rebuilds) {
      const first = this.before.get(projection)
      if (!first || first.position > position) this.before.set(projection, { position, time })
    }
  }

  speedOf({ projection, position, rate: given }) {
    if (given !== undefined && given !== null) return Number(given)
    const first = this.before?.get(projection)
    const seconds = first ? (performance.now() - first.time) / 1000 : 0
    return seconds > 1 && position > first.position ? Math.round((position - first.position) / seconds) : null
  }

  drawStreams(metrics) {
    const rows = [
      ["Open streams", "jobledger_subscribers"],
      ["Gaps that were found", "jobledger_gaps_detected_total"],
      ["Events read from the log to fill gaps", "jobledger_refilled_events_total"],
      ["Messages without a valid code", "jobledger_messages_rejected_total"],
      ["Requests under way", "jobledger_http_requests_under_way"],
      ["Connections", "jobledger_http_connections"],
      ["Appends waiting for the log", "jobledger_log_waiting_appenders"],
    ].map(([name, metric]) => [name, metricSum(metrics, metric)])
    rows.push(["Delivered within", deliveryLag(metrics)])
    this.part("streams", rows, () =>
      h(
        "dl",
        { class: "facts body" },
        rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
      ),
    )
  }
}

/** `/readyz`, which answers 503 with the same body while the service is not ready. */
async function ready(signal) {
  const response = await fetch("/readyz", { signal, cache: "no-store" })
  return response.json()
}

export default {
  title: () => "Operations",
  async mount(root, context) {
    await Promise.all([stylesheet("operations"), stylesheet("proof")])
    const view = new OperationsView(root, context)
    let timer = null
    const loop = async () => {
      clearTimeout(timer)
      if (!document.hidden) await view.read().catch(error => context.signal.aborted || console.error(error))
      if (!context.signal.aborted) timer = setTimeout(loop, interval)
    }
    document.addEventListener("visibilitychange", () => document.hidden || loop(), { signal: context.signal })
    await loop()
    return { unmount: () => clearTimeout(timer) }
  },
}
