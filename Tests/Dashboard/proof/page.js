// Shows the results of the tests as text, a line each, and sends them to whoever serves the page.
import { run } from "./tests.js"

const vectors = await (await fetch("vectors.json")).json()
const results = await run(vectors)
const lines = results.map(({ name, problem }) => `${problem ? "FAILED" : "passed"} ${name}${problem ? `: ${problem}` : ""}`)
document.querySelector("#results").textContent = lines.join("\n")
await fetch("/results", { method: "POST", body: lines.join("\n") })
