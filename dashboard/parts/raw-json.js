// Cuts values out of a JSON text as they stand there, because a parsed value has lost how its
// numbers and texts were written.

/** The members of the object `source`, in order: `[[name, text], …]`. */
export function members(source) {
  const scanner = new Scanner(source)
  const found = []
  scanner.list("{", "}", () => {
    const name = JSON.parse(scanner.value())
    scanner.skip(":")
    found.push([name, scanner.value()])
  })
  return found
}

/** The elements of the array `source`, as texts. */
export function elements(source) {
  const scanner = new Scanner(source)
  const found = []
  scanner.list("[", "]", () => found.push(scanner.value()))
  return found
}

/** The text of one member of an object; undefined if it has none of this name. */
export function member(source, name) {
  return members(source).findLast(([known]) => known === name)?.[1]
}

/** Walks over JSON that was parsed before, and so is known to be JSON. */
class Scanner {
  place = 0

  constructor(source) {
    this.source = source
  }

  #space() {
    while (" \t\n\r".includes(this.source[this.place] ?? "x")) this.place += 1
  }

  skip(character) {
    this.#space()
    if (this.source[this.place] !== character) throw new SyntaxError(`not JSON at ${this.place}`)
    this.place += 1
  }

  list(open, close, item) {
    this.skip(open)
    this.#space()
    if (this.source[this.place] === close) return
    for (;;) {
      item()
      this.#space()
      if (this.source[this.place] !== ",") break
      this.place += 1
    }
    this.skip(close)
  }

  value() {
    this.#space()
    const { source } = this
    const start = this.place
    let depth = 0
    do {
      const character = source[this.place]
      if (character === undefined) throw new SyntaxError("the JSON ends in the middle")
      if (character === '"') {
        this.#string()
      } else if (character === "{" || character === "[") {
        depth += 1
        this.place += 1
      } else if (character === "}" || character === "]") {
        depth -= 1
        this.place += 1
      } else if (depth > 0 && ",: \t\n\r".includes(character)) {
        this.place += 1
      } else {
        while (this.place < source.length && !",:]} \t\n\r".includes(source[this.place])) this.place += 1
      }
    } while (depth > 0)
    return source.slice(start, this.place)
  }

  #string() {
    for (this.place += 1; this.source[this.place] !== '"'; this.place += 1) {
      if (this.source[this.place] === "\\") this.place += 1
      if (this.place >= this.source.length) throw new SyntaxError("a text has no end")
    }
    this.place += 1
  }
}
