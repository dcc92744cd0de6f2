// What of the runs is shown, and how: by the address, and by what the runs have where it says nothing.
import * as model from "./runs-model.js"

/** What all choices depend on, computed once for each state of the runs. */
export function basis(runs) {
  const known = new Map()
  const levels = name => {
    if (!known.has(name)) known.set(name, model.levels(runs, name))
    return known.get(name)
  }
  const variables = model.namesIn(runs, "variables")
  return {
    variables,
    varying: variables.filter(name => levels(name).length > 1),
    metrics: model.numericNames(runs),
    allMetrics: model.namesIn(runs, "metrics"),
    levels,
  }
}

/** The choices that the parameters of an address make. */
export function choicesOf(base, params) {
  const oneOf = (value, options, fallback) => (options.includes(value) ? value : fallback)
  const { variables, varying, metrics } = base
  const metric = oneOf(
    params.get("metric"),
    metrics,
    metrics.find(name => /sharpe|score|accuracy/i.test(name)) ?? metrics[0],
  )
  // The two variables with the most values say most.
  const byLevels = [...varying].sort((a, b) => base.levels(b).length - base.levels(a).length)
  const x = oneOf(params.get("x"), variables, byLevels[0] ?? variables[0])
  const others = byLevels.filter(name => name !== x)
  const y = oneOf(
    params.get("y"),
    variables.filter(name => name !== x),
    others[0] ?? null,
  )
  const rest = varying.filter(name => name !== x && name !== y)
  const fixed = params
    .getAll("fix")
    .map(text => [text.slice(0, text.indexOf(":")), text.slice(text.indexOf(":") + 1)])
    .filter(([name]) => rest.includes(name))
  const good = params.get("good")
  const columns = [
    "run_index",
    ...variables.map(name => `variables:${name}`),
    ...base.allMetrics.map(name => `metrics:${name}`),
  ]
  return {
    base,
    ...base,
    metric,
    x,
    y,
    others: rest,
    fixed,
    needsAggregate: rest.length > fixed.length,
    kind: oneOf(params.get("runs"), ["table", "map"], metric && varying.length > 0 ? "map" : "table"),
    isLowBetter: good === "low" || (good !== "high" && model.guessLowBetter(metric ?? "")),
    aggregate: oneOf(params.get("agg"), Object.keys(model.aggregates), "best"),
    sort: oneOf(params.get("sort"), columns, "run_index"),
    isDescending: params.get("order") === "desc",
  }
}
