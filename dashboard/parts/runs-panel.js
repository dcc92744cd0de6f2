// The runs of a job: a sortable table, a heat map, and the best ones. What is chosen is in the
// address: runs (table or map), sort, order, metric, good, x, y, agg, fix.
import { change } from "../core/address.js"
import { fill, h, setText } from "../core/dom.js"
import { plural } from "../core/format.js"
import { show as asJSON } from "../core/json.js"
import { HeatMap } from "./heat-map.js"
import { basis, choicesOf } from "./runs-choice.js"
import * as model from "./runs-model.js"
import { empty, problem } from "./problem.js"
import { VirtualTable, rowHeight } from "./virtual-rows.js"

const bestCount = 10

/** `csv()` is the address of the CSV. `show(state, params)` draws; see `RunsLoader` for the state. */
export class RunsPanel {
  state = null
  choice = null
  /** The index of the run that was chosen in the heat map. */
  chosen = null
  /** What was computed for the choice before. */
  kept = { key: "" }

  constructor({ csv, announce }) {
    Object.assign(this, { csv, announce })
    this.count = h("span", { class: "muted" })
    this.tools = h("div", { class: "toolbar runs-tools" })
    this.body = h("div", { class: "runs-body" })
    this.download = h("a", { class: "button", download: "" }, "CSV")
    const kinds = [
      ["map", "Heat map"],
      ["table", "Table"],
    ]
    this.kinds = kinds.map(([kind, text]) =>
      h(
        "button",
        { type: "button", "data-kind": kind, onclick: () => change({ runs: kind }, { replace: true }) },
        text,
      ),
    )
    this.root = h(
      "section",
      { class: "panel runs", "aria-labelledby": "runs-title" },
      h(
        "header",
        {},
        h("h2", { id: "runs-title" }, "Runs"),
        this.count,
        h("div", { class: "toolbar", role: "group", "aria-label": "Show as" }, this.kinds),
        h("span", { class: "spacer" }),
        this.download,
      ),
      h("div", { class: "body" }, this.tools, this.body),
    )
    this.table = new VirtualTable({
      label: "List of runs",
      sort: column => this.sort(column),
      cell: (run, column) => h("span", { class: "name" }, model.shown(model.valueOf(run, column.id))),
      rowProps: run => ({ class: run.run_index === this.chosen ? "chosen" : "" }),
    })
    this.map = new HeatMap({ onRun: run => this.showRun(run) })
    this.best = h("section", { class: "best", "aria-labelledby": "best-title" })
    this.pair = h("div", { class: "map-and-best" }, this.map.root, this.best)
    this.remark = h("p", { class: "muted small" })
  }

  show(state, params) {
    const isSame = this.state?.version === state.version && this.choice
    if (!isSame) this.kept = { key: "" }
    const base = isSame ? this.choice.base : basis(state.runs)
    this.state = state
    this.choice = choicesOf(base, params)
    this.download.href = this.csv()
    this.draw()
  }

  end() {
    this.map.end()
  }

  sort(column) {
    const isDescending = this.choice.sort === column && !this.choice.isDescending
    change({ sort: column, order: isDescending ? "desc" : "asc" }, { replace: true })
    this.announce(`Sorted by ${column.replace(/^\w+:/, "")}`)
  }

  /** Shows a run of the heat map in the table. */
  showRun(run) {
    const { metric, isLowBetter } = this.choice
    this.chosen = run.run_index
    change({ runs: "table", sort: `metrics:${metric}`, order: isLowBetter ? "asc" : "desc" }, { replace: true })
    const index = this.kept.sorted?.findIndex(one => one.run_index === this.chosen) ?? -1
    if (index >= 0) this.table.root.scrollTop = Math.max(0, index * rowHeight - 100)
    this.table.root.focus({ preventScroll: true })
    this.announce(`Run ${this.chosen}`)
  }

  draw() {
    const { runs, error, isLoading, note, isPast, retry } = this.state
    const isEmpty = runs.length === 0
    setText(
      this.count,
      isLoading && isEmpty ? "loading" : plural(runs.length, "run") + (isLoading ? ", loading more" : ""),
    )
    this.tools.hidden = isEmpty
    for (const button of this.kinds) button.hidden = isEmpty
    this.download.hidden = isEmpty || isPast
    if (error) return fill(this.body, problem(error, retry))
    if (isEmpty) return fill(this.body, this.nothing())
    const isTable = this.choice.kind === "table"
    for (const button of this.kinds)
      button.setAttribute("aria-pressed", String(button.dataset.kind === this.choice.kind))
    this.drawTools()
    setText(this.remark, note ?? "")
    this.remark.hidden = !note
    const { metric, x } = this.choice
    if (!isTable && (!metric || !x)) {
      return fill(this.body, empty("Nothing to draw", "A heat map needs a metric that is a number, and a variable."))
    }
    const wanted = isTable ? this.table.root : this.pair
    if (wanted.parentNode !== this.body) fill(this.body, this.remark, wanted)
    if (isTable) this.drawTable()
    else this.drawMap()
  }

  nothing() {
    const { isLoading, note } = this.state
    if (isLoading) return h("p", { class: "muted" }, "The runs are being read.")
    return note ? empty(note) : empty("No runs", "Runs appear here when a progress or finished event reports them.")
  }

  drawTable() {
    const { runs, version } = this.state
    const { sort, isDescending, variables, allMetrics } = this.choice
    const key = `table ${version} ${sort} ${isDescending}`
    if (this.kept.key !== key) this.kept = { key, sorted: model.sorted(runs, sort, isDescending) }
    const isNumber = (member, name) =>
      runs.slice(0, 50).every(run => {
        const value = run[member]?.[name]
        return value === undefined || value === null || model.numeric(value) !== null
      })
    const column = (member, extra) => name => ({
      id: `${member}:${name}`,
      title: name,
      class: [extra, isNumber(member, name) && "number"].filter(Boolean).join(" "),
    })
    this.table.show({
      rows: this.kept.sorted,
      columns: [
        { id: "run_index", title: "run", class: "number" },
        ...variables.map(column("variables", "variable")),
        ...allMetrics.map(column("metrics", "")),
      ],
      sorted: { column: sort, isDescending },
    })
  }

  drawMap() {
    const { x, y, metric, aggregate, isLowBetter, fixed, needsAggregate } = this.choice
    const key = `map ${this.state.version} ${JSON.stringify([x, y, metric, aggregate, isLowBetter, fixed])}`
    if (this.kept.key !== key) {
      const runs = this.state.runs.filter(run =>
        fixed.every(([name, value]) => asJSON(run.variables?.[name] ?? null) === value),
      )
      this.kept = {
        key,
        heat: model.heat(runs, { x, y, metric, aggregate, isLowBetter }),
        best: bestOf(runs, metric, isLowBetter),
      }
    }
    this.map.show({ heat: this.kept.heat, x, y, metric, aggregate, isSeveral: needsAggregate })
    this.drawBest()
  }

  drawBest() {
    const { metric, isLowBetter, variables } = this.choice
    const cells = run => [
      h("td", { class: "number" }, run.run_index),
      h("td", { class: "number" }, model.shown(run.metrics[metric])),
      variables.map(name => h("td", { class: "name" }, model.shown(run.variables?.[name]))),
    ]
    const head = [
      h("th", { scope: "col", class: "number" }, "run"),
      h("th", { scope: "col", class: "number name" }, metric),
      variables.map(name => h("th", { scope: "col", class: "name" }, name)),
    ]
    fill(
      this.best,
      h("h3", { id: "best-title" }, isLowBetter ? "Lowest " : "Highest ", h("span", { class: "name" }, metric)),
      h(
        "div",
        { class: "table-scroll", tabIndex: 0, role: "region", "aria-label": "List of the best runs" },
        h(
          "table",
          { class: "table" },
          h("thead", {}, h("tr", {}, head)),
          h(
            "tbody",
            {},
            this.kept.best.map(run => h("tr", {}, cells(run))),
          ),
        ),
      ),
    )
  }

  drawTools() {
    const { tools, choice } = this
    const { kind, variables, metrics, others, x, y, metric, aggregate, isLowBetter, fixed } = choice
    tools.hidden = kind === "table"
    const key = JSON.stringify([
      kind,
      variables,
      metrics,
      x,
      y,
      metric,
      aggregate,
      isLowBetter,
      fixed,
      others.map(name => [name, choice.levels(name).length]),
    ])
    if (tools.dataset.key === key || kind === "table") return
    tools.dataset.key = key
    const focused = tools.contains(document.activeElement) ? document.activeElement.name : null
    fill(
      tools,
      this.menu("metric", "Metric", metrics, metric),
      this.menu("good", "Best is", ["high", "low"], isLowBetter ? "low" : "high"),
      this.menu("x", "Across", variables, x),
      variables.length > 1 &&
        this.menu(
          "y",
          "Up",
          variables.filter(name => name !== x),
          y,
        ),
      choice.needsAggregate && this.menu("agg", "Of several runs", Object.keys(model.aggregates), aggregate),
      others.map(name => this.fixMenu(name)),
    )
    if (focused) tools.querySelector(`[name="${CSS.escape(focused)}"]`)?.focus()
  }

  menu(name, text, options, value) {
    return h(
      "label",
      { class: "field inline" },
      h("span", {}, text),
      h(
        "select",
        { name, onchange: event => this.choose(name, event.target.value) },
        options.map(option => h("option", { value: option, selected: option === value }, option)),
      ),
    )
  }

  choose(name, value) {
    const { x, y } = this.choice
    if (name === "x" && value === y) return change({ x: value, y: x }, { replace: true })
    // Whether high or low is good depends on the metric.
    if (name === "metric") return change({ metric: value, good: null }, { replace: true })
    change({ [name]: value }, { replace: true })
  }

  /** Another variable that varies: one of its values, or all of them together. */
  fixMenu(name) {
    const others = this.choice.fixed.filter(([known]) => known !== name)
    const present = this.choice.fixed.find(([known]) => known === name)?.[1] ?? ""
    const fix = value =>
      change(
        { fix: [...others, ...(value === "" ? [] : [[name, value]])].map(pair => pair.join(":")) },
        { replace: true },
      )
    return h(
      "label",
      { class: "field inline" },
      h("span", { class: "name" }, name),
      h(
        "select",
        { name: `fix ${name}`, onchange: event => fix(event.target.value) },
        h("option", { value: "" }, "all together"),
        this.choice
          .levels(name)
          .map(value => h("option", { value: asJSON(value), selected: asJSON(value) === present }, model.shown(value))),
      ),
    )
  }
}

function bestOf(runs, metric, isLowBetter) {
  const measured = runs.filter(run => model.numeric(run.metrics?.[metric]) !== null)
  return model.sorted(measured, `metrics:${metric}`, !isLowBetter).slice(0, bestCount)
}
