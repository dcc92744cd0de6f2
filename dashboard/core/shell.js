// The header: where one can go, how the page stands with the ledger, and the person's choices.

import { go, link } from "./address.js"
import { h, setText } from "./dom.js"
import { number } from "./format.js"
import { bind, help, store } from "./keys.js"
import { live } from "./live.js"

const pages = [
  ["/", "Overview", "g o"],
  ["/jobs", "Jobs", "g j"],
  ["/timeline", "Timeline", "g t"],
  ["/compare", "Compare", "g c"],
  ["/audit", "Audit", "g a"],
  ["/operations", "Operations", "g p"],
]

function icon(path, label) {
  return [
    h("svg", { viewBox: "0 0 16 16", "aria-hidden": "true" }, h("path", { d: path })),
    h("span", { class: "visually-hidden" }, label),
  ]
}

const icons = {
  pause: "M5 3v10M11 3v10",
  resume: "M5 3l7 5-7 5z",
  theme: "M8 2a6 6 0 100 12V2zM8 2a6 6 0 010 12",
  out: "M6 2H3v12h3M7 8h7M11 5l3 3-3 3",
}

function connectionText() {
  switch (live.state) {
    case "live":
      return "Live"
    case "connecting":
      return "Connecting"
    case "behind":
      return `Behind by ${number(live.behind)}`
    case "paused":
      return live.behind > 0 ? `Paused, ${number(live.behind)} new` : "Paused"
    case "away":
      return "Away, trying again"
    default:
      return "The past"
  }
}

function switchTheme() {
  const root = document.documentElement
  const dark =
    root.dataset.theme === "dark" ||
    (root.dataset.theme === undefined && matchMedia("(prefers-color-scheme: dark)").matches)
  root.dataset.theme = dark ? "light" : "dark"
  store("theme", root.dataset.theme)
  window.dispatchEvent(new Event("theme"))
}

/** Pauses, or goes on. */
export function togglePause() {
  if (live.paused) live.resume()
  else live.pause()
}

/** How the page stands with the ledger, in words, and the button that pauses. */
function connection(announce, signal) {
  const state = h("span", { class: "connection" })
  const pause = h("button", { type: "button", class: "quiet", onclick: togglePause })
  let wasAway = false
  const showState = () => {
    setText(state, connectionText())
    state.dataset.state = live.state
    state.title = live.detail || (live.head > 0 ? `The log ends at position ${number(live.head)}` : "")
    pause.hidden = live.state === "past"
    const wanted = live.paused ? "resume" : "pause"
    if (pause.dataset.does !== wanted) {
      pause.dataset.does = wanted
      pause.replaceChildren(...icon(icons[wanted], live.paused ? "Go on" : "Pause"))
      pause.title = live.paused ? "Go on (p)" : "Pause (p)"
    }
    if ((live.state === "away") !== wasAway && live.state !== "connecting") {
      wasAway = live.state === "away"
      announce(wasAway ? "The ledger is away. The page tries again." : "The ledger is back.")
    }
  }
  window.addEventListener("live", showState, { signal })
  showState()
  return { state, pause }
}

/** The header of the page. `session` is the answer of `/v1/session`. */
export function header(session, { signOut, announce, signal }) {
  const nav = h(
    "nav",
    { "aria-label": "Pages" },
    pages.map(([path, name]) => link(path, {}, name)),
  )
  const { state, pause } = connection(announce, signal)
  const showPage = () => {
    const present = location.pathname.startsWith("/jobs/") ? "/jobs" : location.pathname
    for (const anchor of nav.children) {
      if (anchor.pathname === present) anchor.setAttribute("aria-current", "page")
      else anchor.removeAttribute("aria-current")
    }
  }
  window.addEventListener("address", showPage, { signal })
  showPage()
  const brand = link(
    "/",
    {},
    h("img", { src: "/dashboard/icon.svg", alt: "" }),
    h("span", { class: "product" }, "JobLedger"),
  )
  brand.className = "brand"
  brand.setAttribute("aria-label", "JobLedger, overview")
  return h(
    "header",
    { class: "shell" },
    brand,
    session.ledger && h("span", { class: "name cut muted", title: "The ledger" }, session.ledger),
    nav,
    h(
      "div",
      { class: "tools" },
      state,
      pause,
      h(
        "button",
        { type: "button", class: "quiet", title: "Keys (?)", onclick: help },
        h("span", { "aria-hidden": "true" }, "?"),
        h("span", { class: "visually-hidden" }, "Keys"),
      ),
      h(
        "button",
        { type: "button", class: "quiet", title: "Light or dark", onclick: switchTheme },
        icon(icons.theme, "Light or dark"),
      ),
      signOut &&
        h(
          "button",
          {
            type: "button",
            class: "quiet",
            title: `Sign out${session.name ? ` (${session.name})` : ""}`,
            onclick: signOut,
          },
          icon(icons.out, "Sign out"),
        ),
    ),
  )
}

bind("Everywhere", [
  ...pages.map(([path, name, key]) => ({
    key,
    text: name.toLowerCase(),
    run: () => go(...target(path)),
  })),
  { key: "p", text: "pause, or go on", run: togglePause },
])

function target(path) {
  const anchor = link(path, {})
  return [anchor.pathname, new URLSearchParams(anchor.search)]
}
