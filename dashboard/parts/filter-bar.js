// The controls of the filters that the table of jobs and the timeline share.

import { change, here } from "../core/address.js"
import { fill, h, setText } from "../core/dom.js"
import { compact, number, plural } from "../core/format.js"
import { badge } from "./badge.js"
import { filterForm, localTime } from "./filter-form.js"
import { clear, count, states, toggle } from "./job-filters.js"

function stateButtons() {
  const list = states.map((state) => {
    const amount = h("b", {}, "")
    const onclick = () => toggle(here().params, "status", state)
    const button = h("button", { type: "button", "aria-pressed": "false", onclick }, badge(state), amount)
    return { state, button, amount }
  })
  const update = (filters, counts) => {
    for (const { state, button, amount } of list) {
      button.setAttribute("aria-pressed", String(filters.status.includes(state)))
      setText(amount, counts ? compact(counts[state]) : "")
      button.title = counts ? plural(counts[state], `${state} job`) : ""
    }
  }
  const buttons = list.map((one) => one.button)
  return { element: h("div", { class: "states", role: "group", "aria-label": "States" }, buttons), update }
}

/** `{element, update(filters, counts), focus()}` */
export function filterBar({ signal, withOverdue = true }) {
  let debounce = null
  const search = h("input", {
    type: "search",
    class: "search",
    placeholder: "Search name, id, error  ( / )",
    "aria-label": "Search name, id and error",
    oninput: () => {
      clearTimeout(debounce)
      debounce = setTimeout(() => change({ q: search.value }, { replace: true }), 200)
    },
    onkeydown: (event) => {
      if (event.key !== "Enter") return
      clearTimeout(debounce)
      change({ q: search.value })
    },
  })
  signal.addEventListener("abort", () => clearTimeout(debounce), { once: true })
  const buttons = stateButtons()
  const more = h(
    "button",
    { type: "button", "aria-expanded": "false", "aria-controls": "filters", onclick: () => open(form.hidden) },
    "Filters",
  )
  const form = filterForm(withOverdue)
  const open = (wanted) => {
    form.hidden = !wanted
    more.setAttribute("aria-expanded", String(wanted))
    if (wanted) form.querySelector("select, input").focus()
  }
  const chips = h("div", { class: "chips", hidden: true })
  const element = h(
    "div",
    { class: "jobs-bar" },
    h("div", { class: "toolbar" }, search, buttons.element, more),
    chips,
    form,
  )
  const update = (filters, counts) => {
    if (document.activeElement !== search) search.value = filters.q
    buttons.update(filters, counts)
    const set = count({ ...filters, q: "", status: [] })
    setText(more, set > 0 ? `Filters (${number(set)})` : "Filters")
    showChips(chips, filters)
    form.update(filters)
  }
  return { element, update, focus: () => search.focus() || search.select() }
}

function showChips(root, filters) {
  const list = []
  const chip = (label, remove) =>
    h(
      "button",
      {
        type: "button",
        class: "chip",
        title: "Remove this filter",
        onclick: remove,
      },
      h("span", { class: "cut name" }, label),
      h("span", { "aria-hidden": "true" }, "✕"),
    )
  for (const name of ["kind", "actor", "since", "until", "truncated"]) {
    const value = filters[name]
    if (value !== "")
      list.push(chip(`${name}: ${localTime(value).replace("T", " ") || value}`, () => change({ [name]: null })))
  }
  for (const name of ["variable", "metadata"]) {
    for (const value of filters[name]) list.push(chip(`${name}: ${value}`, () => toggle(here().params, name, value)))
  }
  root.hidden = list.length === 0
  const text = JSON.stringify(list.map((one) => one.textContent))
  if (root.shows === text) return
  root.shows = text
  fill(
    root,
    list,
    list.length > 1 && h("button", { type: "button", class: "quiet small", onclick: clear }, "Clear all"),
  )
}
