// Checks proofs in this browser and says in words what was checked, and what not.
import { ApiError, text } from "../core/api.js"
import { fill, h } from "../core/dom.js"
import { fullTime, number, plural } from "../core/format.js"
import { pretty } from "../core/json.js"
import { canCheck } from "../proof/bytes.js"
import { NotProved, checkEvent, checkJob, checkProofs, differences, isFinding } from "../proof/check.js"
import { pinned } from "../proof/pin.js"
import { watch } from "../proof/watch.js"
import { isAlarm } from "../proof/witness.js"
import { badge } from "./badge.js"

const always = [
  "that what the event says is true: the actor and the data are what the appender stated",
  "that this page itself is honest: its code comes from the same service. For a check that needs no trust in it: " +
    "`jobledger audit check`",
]

/** A box with a button that checks the proof of an event that the page shows. */
export function proofOfEvent(shown, { signal, announce }) {
  return checker(
    "Check the proof",
    async say => {
      say("Fetching the proof")
      const proof = await text("/v1/audit/proof", { event: shown.position }, { signal })
      return eventResult(proof, { position: shown.position }, shown, say)
    },
    announce,
  )
}

/** The same for all events of a job. `shown` is what the page knows of its last event, or null. */
export function proofOfJob(job, { signal, announce, shown = () => null }) {
  return checker(
    "Check the whole job",
    async say => {
      say("Fetching the proofs of all events")
      return jobResult(await text("/v1/audit/proof", { job }, { signal }), job, shown(), say)
    },
    announce,
  )
}

/** The box of the audit page: an event by position or id, a job, or a proof from a file. */
export function proofPanel({ signal, announce, params, remember }) {
  const input = h("input", {
    name: "proof",
    type: "text",
    size: 40,
    autocomplete: "off",
    spellcheck: false,
    value: params.get("proof") ?? "",
    required: true,
  })
  const kind = h(
    "select",
    { name: "kind" },
    [
      ["event", "event (position or id)"],
      ["job", "job (all its events)"],
    ].map(([value, label]) => h("option", { value, selected: params.get("kind") === value }, label)),
  )
  const file = h("input", { type: "file", "aria-label": "A proof in a file", onchange: () => fromFile() })
  const result = h("div", { class: "proof-result", role: "status" })

  async function submit(event) {
    event?.preventDefault()
    const value = input.value.trim()
    remember({ proof: value, kind: kind.value })
    await run(result, announce, async say => {
      say("Fetching the proof")
      if (kind.value === "job")
        return jobResult(await text("/v1/audit/proof", { job: value }, { signal }), value, null, say)
      const asked = /^\d+$/.test(value) ? { position: value } : { id: value }
      return eventResult(await text("/v1/audit/proof", { event: value }, { signal }), asked, null, say)
    })
  }

  async function fromFile() {
    const [chosen] = file.files
    if (!chosen) return
    await run(result, announce, async say => fileResult(await chosen.text(), say))
    file.value = ""
  }

  if (input.value) submit()
  return h(
    "section",
    { class: "panel proof", "aria-labelledby": "proof-title" },
    h("header", {}, h("h2", { id: "proof-title" }, "Check a proof")),
    h(
      "div",
      { class: "body stack" },
      h(
        "form",
        { class: "toolbar", onsubmit: submit },
        h("label", { class: "field" }, h("span", {}, "Of an"), kind),
        h("label", { class: "field grow" }, h("span", {}, "Which"), input),
        h("button", { type: "submit", class: "primary" }, "Check"),
      ),
      h("label", { class: "field" }, h("span", {}, codes("Or a file that `jobledger audit prove --out` wrote")), file),
      result,
    ),
  )
}

function checker(label, work, announce) {
  const result = h("div", { class: "proof-result", role: "status" })
  const button = h(
    "button",
    {
      type: "button",
      onclick: async () => {
        button.disabled = true
        await run(result, announce, work)
        button.disabled = false
      },
    },
    label,
  )
  return h("section", { class: "proof-check" }, button, result)
}

async function run(place, announce, work) {
  const say = message => fill(place, h("p", { class: "muted" }, message))
  let outcome
  try {
    if (!canCheck())
      throw new Unpinned(
        "This browser has no WebCrypto on this page: use https, or a loopback address such as localhost.",
      )
    outcome = await work(say)
  } catch (error) {
    if (error.name === "AbortError") return
    outcome = failure(error)
  }
  fill(place, drawn(outcome))
  announce(outcome.title)
}

/** Nothing can be proved here, and nothing is wrong. */
class Unpinned extends Error {}

async function pinnedKey() {
  const pin = await pinned()
  if (!pin)
    throw new Unpinned(
      "No verifier key is pinned, so nothing can be proved. " +
        "Pin it under “This browser as a witness” on the audit page.",
    )
  return pin.key
}

function failure(error) {
  if (error instanceof Unpinned)
    return { tone: "warn", title: "Nothing is proved", text: error.message, unchecked: ["anything"] }
  if (isAlarm(error) || isFinding(error)) {
    if (isAlarm(error)) watch.fail(error)
    return { tone: "bad", title: "The proof fails", text: error.message, unchecked: [] }
  }
  if (error instanceof ApiError) {
    const bad = error.code === "seal_damaged"
    return {
      tone: bad ? "bad" : "warn",
      title: bad ? "The ledger itself says that something was altered" : "Nothing was checked",
      text: error.detail,
      unchecked: ["anything"],
    }
  }
  console.error(error)
  return { tone: "warn", title: "Nothing was checked", text: error.message, unchecked: ["anything"] }
}

async function eventResult(proof, asked, shown, say) {
  const key = await pinnedKey()
  say("Checking")
  const { event, checkpoint } = await checkEvent(proof, key, asked)
  const wrong = shown ? differences(event, comparable(shown)) : []
  if (wrong.length > 0) {
    return {
      tone: "bad",
      title: "The page was shown something else",
      text:
        `The event at position ${event.position} is proved, but what the service showed of it ` +
        `differs in: ${wrong.join(", ")}.`,
      events: [event],
      unchecked: [],
    }
  }
  const history = await historyOf(checkpoint, say)
  return {
    tone: history.tone ?? "good",
    title: history.tone ? "Proved, but not against this browser's history" : "Proved",
    text:
      `Position ${number(Number(event.position))} is the event “${event.type}” of ${event.category} ` +
      `“${event.stream_id}”, with exactly these data.`,
    checked: [
      "the signature of the pinned key on the checkpoint",
      `that the event is in the signed tree over ${number(Number(checkpoint.size))} events, at its position`,
      shown && "that it is the event which this page shows, with the same data, byte for byte",
      ...history.checked,
    ],
    unchecked: [
      event.data === null && "the data, which are withheld: only their hash is proved",
      ...history.unchecked,
      ...always,
    ],
    events: [event],
  }
}

async function jobResult(proof, job, shown, say) {
  const key = await pinnedKey()
  const { events, checkpoint, isWhole } = await checkJob(proof, key, job, (done, all) =>
    say(`Checking ${number(done)} of ${number(all)} events`),
  )
  const last = events.at(-1)
  if (shown && Number(last.version) < shown.version) {
    return {
      tone: "warn",
      title: "Proved only in part",
      text:
        `The proofs end at version ${last.version}, and the page shows version ${shown.version}: ` +
        "later events are not sealed yet.",
      unchecked: [`the events after version ${last.version}`, ...always],
      events: [],
    }
  }
  const history = await historyOf(checkpoint, say)
  return {
    tone: history.tone ?? "good",
    title: isWhole ? "The whole life of the job is proved" : "All events of the job up to a position are proved",
    text:
      `${plural(events.length, "event")}, versions 1 to ${last.version}, the last “${last.type}” ` +
      `at position ${number(Number(last.position))}.`,
    checked: [
      "the signature of the pinned key on the checkpoint",
      `that each of the ${number(events.length)} events is in the signed tree, at its position`,
      "that the versions count from 1 without a gap" +
        (isWhole ? ", up to an end, after which nothing may follow" : ""),
      ...history.checked,
    ],
    unchecked: [
      !isWhole && "whether later events exist: the job has not ended",
      "that the ledger holds no second event under one of these versions: `jobledger audit verify` does",
      ...history.unchecked,
      ...always,
    ],
    events: [],
  }
}

async function fileResult(proof, say) {
  const key = await pinnedKey()
  const { events, checkpoint } = await checkProofs(proof, key, (done, all) =>
    say(`Checking ${number(done)} of ${number(all)}`),
  ).catch(error => {
    // A file may be of anybody: what is wrong with it says nothing about this ledger.
    throw isFinding(error) ? new NotProved(error.message) : error
  })
  const history = await historyOf(checkpoint, say)
  return {
    tone: history.tone ?? "good",
    title: "Proved",
    text: `The file proves ${plural(events.length, "event")}.`,
    checked: [
      "the signature of the pinned key on the checkpoint",
      "that each event is in the signed tree, at its position",
      ...history.checked,
    ],
    unchecked: [
      events.length > 1 && "that these are all events of a job: choose “job” above",
      ...history.unchecked,
      ...always,
    ],
    events: events.slice(0, 5),
  }
}

/** Whether the checkpoint of a proof is of the history that this browser has seen. */
async function historyOf(checkpoint, say) {
  say("Comparing with the history that this browser has seen")
  try {
    await (await watch.witness()).accepts(checkpoint)
    return {
      checked: ["that the checkpoint is of the same history that this browser has seen as a witness"],
      unchecked: [],
    }
  } catch (error) {
    if (isAlarm(error)) throw error
    return {
      tone: "warn",
      checked: [],
      unchecked: [`whether this is the history that this browser has seen: ${error.detail ?? error.message}`],
    }
  }
}

function comparable({ position, event_id, version, type, data, actor, job, category, stream }) {
  return {
    position,
    event_id,
    version,
    type,
    data,
    actor: actor ?? null,
    ...(job === undefined ? { category, stream } : { job, category: "job" }),
  }
}

function drawn({ tone, title, text, checked = [], unchecked = [], events = [] }) {
  const list = (name, items, mark) =>
    items.filter(Boolean).length > 0 &&
    h(
      "div",
      {},
      h("p", { class: "small muted" }, name),
      h(
        "ul",
        { class: `checks ${mark}` },
        items.filter(Boolean).map(item => h("li", {}, codes(item))),
      ),
    )
  return h(
    "div",
    { class: "verdict-box", "data-tone": tone },
    h("p", { class: "verdict", "data-tone": tone }, badge(tone, title)),
    h("p", { class: "name" }, text),
    h(
      "div",
      { class: "checks-pair" },
      list("Checked in this browser", checked, "yes"),
      list("Not checked", unchecked, "no"),
    ),
    events.map(proved),
  )
}

function proved(event) {
  const rows = [
    ["Position", number(Number(event.position))],
    ["Event id", event.event_id],
    [event.category, event.stream_id],
    ["Type", event.type],
    ["Recorded", `${fullTime(event.recorded_at)} (${event.recorded_at})`],
    ["Happened", event.occurred_at ?? "not said"],
  ]
  const block = (name, json) =>
    json !== null && [
      h("p", { class: "small muted" }, name),
      h(
        "pre",
        { class: "json", tabIndex: 0, role: "region", "aria-label": name },
        json.length > 100_000 ? `${json.slice(0, 100_000)}…` : pretty(json),
      ),
    ]
  return h(
    "details",
    {},
    h("summary", {}, `What is proved of position ${number(Number(event.position))}`),
    h(
      "dl",
      { class: "facts" },
      rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", { class: "name" }, value))),
    ),
    block("Data", event.data),
    block("Metadata", event.metadata),
  )
}

function codes(text) {
  return text.split("`").map((part, index) => (index % 2 ? h("code", {}, part) : part))
}
