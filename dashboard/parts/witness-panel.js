// What the witness of this tab knows, in words; and where a person pins the verifier key.
import { fill, h } from "../core/dom.js"
import { fullTime, number } from "../core/format.js"
import { badge } from "./badge.js"
import { alarm, dismiss, forget, pin, pinned, unpin } from "../proof/pin.js"
import { watch } from "../proof/watch.js"

/** A short word about the witness, for headers: it links to the audit page. */
export function witnessBadge() {
  const root = h("a", { class: "witness-badge", href: "/audit?show=proof" })
  const draw = () => {
    const isWrong = alarm() !== null || watch.state.kind === "wrong"
    root.hidden = !isWrong && ["unknown", "unable", "unpinned"].includes(watch.state.kind)
    fill(
      root,
      isWrong
        ? badge("bad", "history does not fit")
        : badge(watch.state.kind === "good" ? "good" : "queued", words(watch.state).short),
    )
  }
  window.addEventListener("witness", draw)
  watch.start()
  draw()
  return root
}

function words(state) {
  const size = state.size === undefined ? "" : number(Number(state.size))
  switch (state.kind) {
    case "good":
      return {
        tone: "good",
        short: "witnessed",
        text:
          state.before === null
            ? `The ledger's checkpoint over ${size} events is signed by the pinned key. ` +
              "This browser keeps it, and from now on demands that the history continues it."
            : `The ledger's checkpoint over ${size} events is signed by the pinned key, and continues the one ` +
              `over ${number(Number(state.before))} events that this browser had seen.`,
      }
    case "empty":
      return {
        tone: "queued",
        short: "nothing sealed",
        text: "Nothing is sealed yet, so there is nothing to check. Is a sealer running?",
      }
    case "unpinned":
      return {
        tone: "warn",
        short: "not checked",
        text: "No verifier key is pinned, so nothing is proved: what this page shows is what the service says.",
      }
    case "unable":
      return {
        tone: "warn",
        short: "cannot check",
        text:
          "This browser has no WebCrypto on this page, so nothing is proved. " +
          "It is there over https, and on a loopback address such as localhost.",
      }
    case "unchecked":
      return { tone: "warn", short: "not checked", text: `Nothing was checked at the last look: ${state.message}` }
    case "wrong":
      return { tone: "bad", short: "wrong", text: state.message }
    default:
      return { tone: "queued", short: "looking", text: "Looking at the ledger's checkpoint." }
  }
}

/** The panel of the audit page. */
export function witnessPanel({ signal, announce }) {
  const status = h("div", { class: "stack", role: "status" })
  const keys = h("div")
  const root = h(
    "section",
    { class: "panel witness", "aria-labelledby": "witness-title" },
    h(
      "header",
      {},
      h("h2", { id: "witness-title" }, "This browser as a witness"),
      h("span", { class: "spacer" }),
      h("button", { type: "button", onclick: () => watch.look() }, "Look now"),
    ),
    h("div", { class: "body stack" }, status, keys),
  )
  let drawn = null

  async function draw() {
    const pinnedKey = await pinned()
    const { tone, text } = words(watch.state)
    fill(
      status,
      alarmBox(pinnedKey),
      h("p", { class: "verdict", "data-tone": tone }, badge(tone, words(watch.state).short), " ", text),
      watch.state.at &&
        h(
          "p",
          { class: "muted small" },
          `Last look: ${fullTime(watch.state.at)}. It looks again every 30 s while a page of the dashboard is open.`,
        ),
    )
    const key = pinnedKey?.key.text ?? ""
    if (drawn === key) return
    drawn = key
    fill(keys, pinnedKey ? shownKey(pinnedKey) : pinForm(announce))
  }

  window.addEventListener("witness", draw)
  signal.addEventListener("abort", () => window.removeEventListener("witness", draw), { once: true })
  watch.start()
  draw()
  return root
}

function shownKey({ key, pinnedAt }) {
  const facts = [
    ["Log", key.name],
    ["Pinned key", key.text],
    ["Pinned", fullTime(pinnedAt)],
  ]
  const forget = () => confirm("Forget the pinned key? Nothing is proved until one is pinned again.") && unpin()
  return [
    h(
      "dl",
      { class: "facts" },
      facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", { class: "name mono" }, value))),
    ),
    h("div", { class: "toolbar" }, h("button", { type: "button", onclick: forget }, "Unpin")),
  ]
}

function alarmBox(pinnedKey) {
  const one = alarm()
  if (!one) return null
  const evidence = text => h("pre", { class: "json", tabIndex: 0, role: "region", "aria-label": "A checkpoint" }, text)
  return h(
    "div",
    { class: "error alarm", role: "alert" },
    h(
      "div",
      { class: "stack" },
      h("p", {}, h("strong", {}, "Something is wrong with this ledger's history. "), one.message),
      h(
        "p",
        {},
        `Noticed ${fullTime(one.at)}. Keep the two checkpoints below: together they are the evidence. ` +
          "Ask who runs the ledger whether it was restored, or failed over, and look with ",
        h("code", {}, "jobledger audit verify --against"),
        ".",
      ),
      one.kept && [h("p", { class: "small" }, "What this browser had seen:"), evidence(one.kept)],
      one.shown && [h("p", { class: "small" }, "What the ledger showed:"), evidence(one.shown)],
      h(
        "div",
        { class: "toolbar" },
        h("button", { type: "button", onclick: () => dismiss() }, "I have looked at it"),
        pinnedKey &&
          one.kept &&
          h(
            "button",
            {
              type: "button",
              onclick: () => {
                if (
                  !confirm(
                    "Forget the checkpoint that this browser had seen? It will accept the ledger's present history " +
                      "without proof that it continues the old one.",
                  )
                )
                  return
                forget(pinnedKey.key.name)
                dismiss()
                location.reload()
              },
            },
            "Accept the new history",
          ),
      ),
    ),
  )
}

function pinForm(announce) {
  const message = h("div", { role: "alert" })
  const input = h("textarea", {
    id: "pin",
    rows: 3,
    spellcheck: false,
    required: true,
    placeholder: "jobledger/NAME/EPOCH+0123abcd+AQ…",
    class: "mono",
  })
  const submit = async event => {
    event.preventDefault()
    try {
      await pin(input.value)
      announce("The key is pinned.")
    } catch (error) {
      fill(message, h("div", { class: "error" }, h("div", {}, error.message)))
      input.focus()
    }
  }
  return h(
    "form",
    { class: "stack", onsubmit: submit },
    h("label", { class: "field" }, h("span", {}, "Verifier key"), input),
    message,
    h(
      "p",
      { class: "small muted" },
      "Get it from a person you trust who runs the ledger, and not from this page or the service: " +
        "whoever could alter the " +
        "history could show you a key that fits it. On the ledger's machine it is printed by ",
      h("code", {}, "jobledger audit key"),
      ".",
    ),
    h("div", {}, h("button", { type: "submit", class: "primary" }, "Pin this key")),
  )
}
