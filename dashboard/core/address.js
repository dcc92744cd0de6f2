// Where the page is. The whole state of a view is in its address, so that it can be kept and sent.

import { h } from "./dom.js"
import { address } from "./api.js"

/** The present path, as it is encoded in the address, and a copy of its parameters. */
export function here() {
  return { path: location.pathname, params: new URLSearchParams(location.search) }
}

function notify() {
  window.dispatchEvent(new Event("address"))
  for (const anchor of document.querySelectorAll("a[data-keeps-at]")) refresh(anchor)
}

/** An address with the present moment, unless `params` name one. `at: null` means now. */
export function href(path, params) {
  const given = params instanceof URLSearchParams ? Object.fromEntries(params) : (params ?? {})
  const at = here().params.get("at")
  if (at === null || "at" in given || path === "/compare") return address(path, params)
  return address(address(path, params), { at })
}

/** Goes to another address without loading the page. The same address again does nothing. */
export function go(path, params, { replace = false } = {}) {
  const target = address(path, params)
  if (target === location.pathname + location.search) return
  if (replace) history.replaceState(null, "", target)
  else history.pushState(null, "", target)
  notify()
}

/** Changes some parameters of the present address: `null` removes one, an array repeats one. */
export function change(changes, options) {
  const { path, params } = here()
  for (const [name, value] of Object.entries(changes)) {
    params.delete(name)
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && one !== undefined && one !== "") params.append(name, one)
    }
  }
  go(path, params, options)
}

const kept = new WeakMap()

function refresh(anchor) {
  const { path, params } = kept.get(anchor) ?? {}
  if (path) anchor.href = href(path, params)
}

/** A link of the page that keeps the moment that is looked at, also when that changes. */
export function link(path, params, ...children) {
  const anchor = h("a", { "data-keeps-at": "" }, ...children)
  kept.set(anchor, { path, params })
  refresh(anchor)
  return anchor
}

const pages = /^\/(jobs(\/[^/]+)?|timeline|compare|audit|operations)?$/

/** Whether a path is a page of the dashboard, which needs no loading. */
export function isPage(path) {
  return pages.test(path)
}

window.addEventListener("popstate", notify)
document.addEventListener("click", (event) => {
  const anchor = event.target.closest?.("a[href]")
  if (!anchor || event.defaultPrevented || event.button !== 0) return
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return
  if (anchor.target || anchor.hasAttribute("download") || anchor.origin !== location.origin) return
  if (!isPage(anchor.pathname) || anchor.hash) return
  event.preventDefault()
  go(anchor.pathname, new URLSearchParams(anchor.search))
  window.dispatchEvent(new Event("followed"))
})
