// The tables of the operations view.
import { link } from "../core/address.js"
import { h } from "../core/dom.js"
import { ago, duration, number, plural, rate, timeElement } from "../core/format.js"
import { badge } from "./badge.js"
import { lateSeconds } from "./ops-state.js"

export function stoppedBox({ title, error, position, event, advice }) {
  return h(
    "div",
    { class: "error stopped", role: "alert" },
    h(
      "div",
      {},
      h(
        "p",
        {},
        h("strong", {}, `${title} has stopped`),
        position
          ? [
              " at the event at position ",
              link("/audit", { from: position, to: position, event: position }, `#${number(position)}`),
            ]
          : "",
        event && h("span", { class: "muted" }, ` (${event})`),
      ),
      h("pre", { class: "name" }, error),
      h("p", { class: "small" }, "What helps: ", h("code", {}, advice)),
    ),
  )
}

function table(label, columns, rows, none) {
  if (rows.length === 0) return h("p", { class: "muted body" }, none)
  return h(
    "div",
    { class: "table-scroll", tabIndex: 0, role: "region", "aria-label": `Table: ${label}` },
    h(
      "table",
      { class: "table" },
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          columns.map(([name, cls]) => h("th", { scope: "col", class: cls ?? "" }, name)),
        ),
      ),
      h("tbody", {}, rows),
    ),
  )
}

export function readerTable(readers, ages, head) {
  return table(
    "Readers of the log",
    [
      ["Reader"],
      ["State"],
      ["Place", "number"],
      ["Behind", "number"],
      ["Oldest not folded", "number"],
      ["Drift checks"],
    ],
    readers.map((one, index) => {
      const late = ages[index]
      const state = one.error
        ? badge("bad", "stopped")
        : !one.active
          ? badge("warn", "nobody works")
          : late > lateSeconds
            ? badge("warn", "behind")
            : badge("good", "running")
      const drift = one.drift_checks
      return h(
        "tr",
        {},
        h(
          "th",
          { scope: "row" },
          h("span", { class: "name" }, one.name),
          " ",
          h("span", { class: "muted small" }, one.kind),
        ),
        h("td", {}, state),
        h(
          "td",
          { class: "number" },
          number(one.position),
          h("div", { class: "track", "aria-hidden": "true" }, share(one.position, head)),
        ),
        h("td", { class: "number" }, one.lag > 0 ? number(one.lag) : "0"),
        h("td", { class: "number" }, late === null ? "–" : duration(1000 * late)),
        h(
          "td",
          {},
          !drift
            ? h("span", { class: "none" }, "–")
            : drift.drifted > 0
              ? badge("bad", `${number(drift.drifted)} of ${plural(drift.jobs, "job")} drifted`)
              : [`none in ${plural(drift.jobs, "job")} `, h("span", { class: "muted small" }, ago(drift.checked_at))],
        ),
      )
    }),
    "No reader has run yet.",
  )
}

function share(position, head) {
  const bar = h("i")
  bar.style.transform = `scaleX(${head > 0 ? Math.min(1, position / head) : 1})`
  return bar
}

export function rebuildTable(rebuilds, speedOf) {
  return table(
    "Rebuilds under way",
    [["Of"], ["State"], ["Done", "number"], ["Rate", "number"], ["Left", "number"], ["Begun"]],
    rebuilds.map(one => {
      const speed = speedOf(one)
      const done = one.goal > 0 ? Math.min(100, Math.floor((100 * one.position) / one.goal)) : 100
      return h(
        "tr",
        {},
        h("th", { scope: "row", class: "name" }, one.projection),
        h(
          "td",
          {},
          one.error
            ? badge("bad", "stopped")
            : one.active
              ? badge("running", "rebuilding")
              : badge("warn", "nobody works"),
        ),
        h("td", { class: "number" }, `${done} %, ${number(one.position)} of ${number(one.goal)}`),
        h("td", { class: "number" }, speed === null ? "–" : rate(speed)),
        h("td", { class: "number" }, speed > 0 ? duration((1000 * (one.goal - one.position)) / speed) : "–"),
        h("td", {}, timeElement(one.started_at), " by ", h("span", { class: "name" }, one.started_by)),
      )
    }),
    "No rebuild is under way.",
  )
}

export function receiptTable(receipts) {
  return table(
    "Receipts",
    [["When"], ["What"], ["At", "number"], ["Rows", "number"], ["Took", "number"], ["Result"], ["By"]],
    receipts.map(one =>
      h(
        "tr",
        {},
        h("td", {}, timeElement(one.made_at)),
        h("td", {}, one.kind, " ", h("strong", { class: "name" }, one.projection)),
        h("td", { class: "number" }, number(one.position)),
        h("td", { class: "number" }, number(one.rows)),
        h("td", { class: "number" }, one.seconds === undefined ? "–" : duration(1000 * Number(one.seconds))),
        h(
          "td",
          {},
          one.equal === true
            ? badge("good", "equal")
            : one.equal === false
              ? badge("bad", "differs")
              : h("span", { class: "none" }, "not compared"),
          one.digest &&
            h("code", { class: "digest muted", title: `digest ${one.digest}` }, ` ${one.digest.slice(0, 12)}`),
        ),
        h("td", { class: "name" }, one.role ?? one.made_by),
      ),
    ),
    "There are no receipts: nothing was rebuilt or verified yet.",
  )
}

export function readiness({ checks = [] }) {
  return h(
    "ul",
    { class: "ready" },
    checks.map(check =>
      h(
        "li",
        {},
        badge(check.ready ? "good" : check.needed ? "bad" : "warn", check.name),
        h("span", { class: "name" }, check.detail),
      ),
    ),
  )
}

export function epochsAndLosses({ epochs, losses, lost_events: lost, holder, standbys }) {
  return h(
    "div",
    { class: "body stack" },
    holder &&
      h(
        "p",
        {},
        badge(holder.held_seconds >= 5 ? "bad" : "queued", "the log is held"),
        ` by ${holder.by}`,
        holder.held_seconds !== undefined && ` for ${holder.held_seconds} s`,
        `, ${plural(holder.waiting, "appender")} wait`,
      ),
    standbys && h("p", { class: "muted" }, `Commits wait for ${standbys}`),
    h(
      "ol",
      { class: "epochs" },
      [...epochs]
        .reverse()
        .slice(0, 20)
        .map((one, index) =>
          h(
            "li",
            {},
            index === 0 && h("strong", {}, "now "),
            h("code", {}, one.epoch.slice(0, 8)),
            ` from position ${number(one.first_position)}, `,
            timeElement(one.began_at),
            h("div", { class: "muted name" }, one.reason),
          ),
        ),
    ),
    losses.length === 0
      ? h("p", { class: "muted" }, "No reader is known to have had an event that the log has lost.")
      : [
          h("p", {}, badge("warn", plural(lost, "event") + " lost")),
          h(
            "ul",
            { class: "epochs" },
            losses
              .slice(0, 20)
              .map(one =>
                h(
                  "li",
                  {},
                  h("strong", { class: "name" }, one.reader),
                  ` had ${one.place}, shared up to ${number(one.shared)}, noted `,
                  timeElement(one.noted_at),
                ),
              ),
          ),
        ],
  )
}
