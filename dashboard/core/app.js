// The page: it signs in, shows the view of the address, and follows the ledger while that is now.

import { here } from "./address.js"
import { ApiError, request } from "./api.js"
import { fill, h } from "./dom.js"
import { isTyping } from "./keys.js"
import { live } from "./live.js"
import { at, isQuick } from "./moment.js"
import { header } from "./shell.js"
import { problem } from "../parts/problem.js"
import { signIn } from "../views/sign-in.js"

const routes = [
  [/^\/$/, () => import("../views/overview.js")],
  [/^\/jobs$/, () => import("../views/jobs.js")],
  [/^\/jobs\/([^/]+)$/, () => import("../views/job.js")],
  [/^\/timeline$/, () => import("../views/timeline.js")],
  [/^\/compare$/, () => import("../views/compare.js")],
  [/^\/audit$/, () => import("../views/audit.js")],
  [/^\/operations$/, () => import("../views/operations.js")],
]

const main = h("main", { id: "main", tabIndex: -1 })
const region = h("div", { class: "visually-hidden", role: "status", "aria-live": "polite" })
let ledger = ""
let signedIn = false
let current = null
let turn = 0
/** Ends with the session, and with it what listens for it. */
let session = new AbortController()

/** Says a text to those who listen rather than look. */
function announce(text) {
  region.textContent = ""
  requestAnimationFrame(() => (region.textContent = text))
}

function retitle(view, params, context) {
  document.title = `${view.title(params, context)} · ${ledger || "JobLedger"}`
}

function present() {
  const { path, params } = here()
  const moment = at()
  if (moment === null) params.delete("at")
  else params.set("at", moment)
  return { path, params }
}

function follow() {
  if (signedIn && at() === null) live.start()
  else live.stop()
}

async function show() {
  if (!signedIn) return
  follow()
  const { path, params } = present()
  if (current?.path === path && current.mounted) {
    current.mounted.update?.(params, { quick: isQuick() })
    retitle(current.view, params, current.context)
    return
  }
  const mine = ++turn
  const route = routes.find(([pattern]) => pattern.test(path))
  let view
  try {
    if (!route) throw new ApiError(404, "not_found", "There is no such page.")
    view = (await route[1]()).default
  } catch (error) {
    if (mine !== turn) return
    leave()
    if (!(error instanceof ApiError)) console.error(error)
    return fill(
      main,
      h(
        "div",
        { class: "page" },
        problem(error, () => location.reload()),
      ),
    )
  }
  if (mine === turn) await mount(view, path, route[0].exec(path)[1])
}

function leave() {
  current?.mounted?.unmount?.()
  current?.controller.abort()
  current = null
  main.className = ""
  main.replaceChildren()
  main.scrollTop = 0
}

async function mount(view, path, encoded) {
  const isFirst = current === null
  leave()
  const { params } = present()
  const controller = new AbortController()
  const context = {
    signal: controller.signal,
    announce,
    params,
    path,
    main,
    // The job of `/jobs/{id}`.
    id: encoded === undefined ? undefined : decode(encoded),
  }
  current = { view, path, controller, context }
  retitle(view, params, context)
  try {
    const mounted = await view.mount(main, context)
    if (controller.signal.aborted) return mounted?.unmount?.()
    current.mounted = mounted ?? {}
  } catch (error) {
    if (controller.signal.aborted) return
    console.error(error)
    fill(
      main,
      h(
        "div",
        { class: "page" },
        problem(error, () => location.reload()),
      ),
    )
  }
  if (!isFirst) {
    announce(view.title(params, context))
    if (!isTyping(document.activeElement) && !main.contains(document.activeElement)) main.focus({ preventScroll: true })
  }
}

function decode(text) {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

async function signOut() {
  await request("/v1/session", { method: "DELETE", quiet: true }).catch(() => {})
  end("You have signed out.")
}

function end(reason) {
  signedIn = false
  session.abort()
  live.stop()
  leave()
  signIn(document.body, { reason, done: begin })
}

function begin(who) {
  signedIn = true
  ledger = who.ledger ?? ""
  session = new AbortController()
  const { signal } = session
  const skip = h(
    "a",
    {
      class: "skip",
      href: "#main",
      onclick: (event) => {
        event.preventDefault()
        main.focus()
      },
    },
    "To the content",
  )
  const bar = h("div", { id: "time" })
  fill(
    document.body,
    skip,
    header(who, { signOut: who.name === undefined ? null : signOut, announce, signal }),
    bar,
    main,
    region,
  )
  setTimeout(() => beWitness(signal), 1000)
  import("../parts/time-bar.js").then(({ timeBar }) => timeBar(bar, { announce, signal }), console.error)
  show()
}

/** Every open tab is a witness of the ledger's history, once the view is there. */
async function beWitness(signal) {
  let badge
  try {
    badge = (await import("../parts/witness-panel.js")).witnessBadge
  } catch {
    // The service is away.
    return setTimeout(() => signal.aborted || beWitness(signal), 3000)
  }
  if (!signal.aborted) document.querySelector(".shell .tools")?.prepend(badge())
}

async function boot() {
  const reason =
    here().params.get("signed-out") === "code-used"
      ? "That address was used before, or is too old. `jobledger dashboard` prints a fresh one."
      : null
  if (reason) history.replaceState(null, "", "/")
  // The view is loaded beside the question of who is there.
  routes
    .find(([pattern]) => pattern.test(location.pathname))?.[1]()
    .catch(() => {})
  try {
    const response = await request("/v1/session", { quiet: true })
    begin(await response.json())
  } catch (error) {
    if (error.status === 401) return end(reason)
    fill(
      document.body,
      h(
        "div",
        { class: "page" },
        problem(error, () => location.reload()),
      ),
    )
    if (error.status === 0 || error.status === 503) setTimeout(boot, 2000)
  }
}

window.addEventListener("address", show)
window.addEventListener("moment", show)
window.addEventListener("signed-out", () => {
  if (signedIn) end("Your session has ended.")
})
boot()
