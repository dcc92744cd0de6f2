// node --experimental-default-type=module Tests/Dashboard/proof/in-node.mjs
import { readFileSync } from "node:fs"
import { run } from "./tests.js"

const results = await run(JSON.parse(readFileSync(new URL("vectors.json", import.meta.url))))
for (const { name, problem } of results) if (problem) console.error(`${name}: ${problem}`)
console.log(`${results.filter(({ problem }) => !problem).length} of ${results.length} tests of proofs passed`)
process.exit(results.some(({ problem }) => problem) ? 1 : 0)
