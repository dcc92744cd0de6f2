// Keys: what there is, and the list of it under `?`.

import { h } from "./dom.js"

const bindings = new Set()
let pending = ""
let timer = null

export function stored(name, fallback) {
  try {
    return localStorage.getItem(name) ?? fallback
  } catch {
    return fallback
  }
}

export function store(name, value) {
  try {
    localStorage.setItem(name, value)
  } catch {
    // Without storage a choice lasts as long as the page.
  }
}

/**
 * Adds keys: `key` is as in KeyboardEvent.key, or two of them with a space ("g j"). `show` is what the
 * list says where it differs; without `run` the binding is only listed. They end with `signal`.
 */
export function bind(group, list, { signal } = {}) {
  for (const one of list) {
    const binding = { group, ...one }
    bindings.add(binding)
    signal?.addEventListener("abort", () => bindings.delete(binding), { once: true })
  }
}

/** Whether what is typed belongs to a field. */
export function isTyping(target) {
  return target.isContentEditable || target.matches?.("textarea, select, input:not([type=checkbox], [type=radio])")
}

function press(event) {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return
  if (isTyping(event.target)) {
    if (event.key === "Escape") event.target.blur()
    return
  }
  if (document.querySelector("dialog[open]") || event.key === "Shift") return
  if (stored("keys", "on") === "off" && event.key.length === 1 && event.key !== "?") return
  const sequence = pending === "" ? event.key : `${pending} ${event.key}`
  clearTimeout(timer)
  pending = ""
  // The binding that was added last is the view's, and wins.
  const found = [...bindings].reverse().find((one) => one.run && one.key === sequence)
  if (found) {
    event.preventDefault()
    return found.run(event)
  }
  if (sequence === event.key && [...bindings].some((one) => one.key?.startsWith(`${event.key} `))) {
    pending = event.key
    timer = setTimeout(() => (pending = ""), 1500)
  }
}

function shown(binding) {
  const text = binding.show ?? binding.key
  return text.split(" ").map((key) => (key === "–" || key === "or" ? ` ${key} ` : h("kbd", {}, key)))
}

/** Shows the list of keys. */
export function help() {
  const groups = Map.groupBy(
    [...bindings].filter((one) => one.text),
    (one) => one.group,
  )
  const toggle = h("input", {
    type: "checkbox",
    checked: stored("keys", "on") === "on",
    onchange: (event) => store("keys", event.target.checked ? "on" : "off"),
  })
  const dialog = h(
    "dialog",
    { class: "keys", "aria-labelledby": "keys-title" },
    h(
      "div",
      { class: "top" },
      h("h2", { id: "keys-title" }, "Keys"),
      h("button", { type: "button", class: "quiet", "aria-label": "Close", onclick: () => dialog.close() }, "✕"),
    ),
    h(
      "div",
      { class: "keys-groups" },
      [...groups].map(([group, list]) =>
        h(
          "section",
          {},
          h("h3", {}, group),
          h(
            "dl",
            {},
            list.map((one) => h("div", {}, h("dt", {}, shown(one)), h("dd", {}, one.text))),
          ),
        ),
      ),
    ),
    h("label", { class: "check" }, toggle, " Single letters are keys (turn off for speech input)"),
  )
  dialog.addEventListener("close", () => dialog.remove())
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close())
  document.body.append(dialog)
  dialog.showModal()
}

document.addEventListener("keydown", press)
bind("Everywhere", [{ key: "?", text: "show the keys", run: help }])
