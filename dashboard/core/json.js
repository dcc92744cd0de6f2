// JSON without the loss of a digit. JavaScript reads every number as a double; what a double would
// alter is kept as it was sent.

/** A number as it was sent, which a double cannot hold. */
export class ExactNumber {
  constructor(text) {
    this.text = text
  }
  toString() {
    return this.text
  }
  valueOf() {
    return Number(this.text)
  }
  toJSON() {
    return JSON.rawJSON ? JSON.rawJSON(this.text) : Number(this.text)
  }
}

const token = /\s+|"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null|[{}[\],:]/gy
// Doubles keep 15 digits, so only longer numbers, and those with an exponent, can be altered.
// Where that stands in a text is no matter: reading exactly is only slower.
const suspicious = /\d[\d.]{15}|(^|[:,[]\s*)-?\d[\d.]*[eE]|(^|[:,[]\s*)-0/

/** Digits and exponent of a decimal, so that 1.50e3 and 1500 are equal. */
function canonical(text) {
  const [, sign, whole, part = "", exponent = "0"] = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(text)
  const digits = (whole + part).replace(/^0+/, "")
  const kept = digits.replace(/0+$/, "")
  if (kept === "") return `${sign}0`
  return `${sign}${kept}e${BigInt(exponent) - BigInt(part.length) + BigInt(digits.length - kept.length)}`
}

/** The number of a source text: a double, or an `ExactNumber` where a double differs. */
export function number(text) {
  const value = Number(text)
  if (text.length < 16 && !/[eE]|^-0/.test(text)) return value
  return Number.isFinite(value) && canonical(String(value)) === canonical(text) ? value : new ExactNumber(text)
}

function tokens(text) {
  token.lastIndex = 0
  const found = []
  while (token.lastIndex < text.length) {
    const at = token.lastIndex
    const match = token.exec(text)
    if (!match) throw new SyntaxError(`not JSON at character ${at}`)
    if (match[0].trim() !== "") found.push(match[0])
  }
  return found
}

function exactly(text) {
  const list = tokens(text)
  let next = 0
  const expect = (wanted) => {
    if (list[next++] !== wanted) throw new SyntaxError(`not JSON: ${wanted} is missing`)
  }
  // One token that closes, and commas between the items before it.
  const items = (end, one) => {
    if (list[next] === end) return next++
    for (;;) {
      one()
      if (list[next] === end) return next++
      expect(",")
    }
  }
  const value = () => {
    const first = list[next++]
    if (first === "{") {
      const object = {}
      items("}", () => {
        const key = JSON.parse(list[next++])
        expect(":")
        // Not by assignment, which would take "__proto__" for the prototype.
        Object.defineProperty(object, key, { value: value(), enumerable: true, configurable: true, writable: true })
      })
      return object
    }
    if (first === "[") {
      const array = []
      items("]", () => array.push(value()))
      return array
    }
    if (first === undefined || /^[\]},:]$/.test(first)) throw new SyntaxError("not JSON: a value is missing")
    return /^[-\d]/.test(first) ? number(first) : JSON.parse(first)
  }
  const result = value()
  if (next !== list.length) throw new SyntaxError("not JSON: more than one value")
  return result
}

/** The value of a JSON text, with an `ExactNumber` for each number that a double would alter. */
export function parse(text) {
  return suspicious.test(text) ? exactly(text) : JSON.parse(text)
}

/** A value as JSON in one line, exact numbers as they were sent. */
export function show(value) {
  if (value === undefined) return ""
  if (value instanceof ExactNumber) return value.text
  if (Array.isArray(value)) return `[${value.map(show).join(",")}]`
  if (value !== null && typeof value === "object") {
    return `{${Object.entries(value)
      .map(([key, one]) => `${JSON.stringify(key)}:${show(one)}`)
      .join(",")}}`
  }
  return Object.is(value, -0) ? "-0" : JSON.stringify(value)
}

/** JSON source with line breaks and indents. Every token stays as it is. */
export function pretty(text, indent = "  ") {
  let list
  try {
    list = tokens(text)
  } catch {
    return text
  }
  let depth = 0
  let out = ""
  const line = () => `\n${indent.repeat(depth)}`
  list.forEach((one, index) => {
    const before = list[index - 1]
    if (one === "}" || one === "]") {
      depth -= 1
      out += before === "{" || before === "[" ? one : line() + one
    } else {
      if (before === "{" || before === "[" || before === ",") out += line()
      out += one === ":" ? ": " : one
      if (one === "{" || one === "[") depth += 1
    }
  })
  return out
}
