// C2SP's signed-note: a text with signatures, and the verifier key that checks them.
import { Malformed, base64, equal, fromBase64, hex, join, sha256, utf8 } from "./bytes.js"

/** The byte that stands for Ed25519. */
const ed25519 = 1
/** The most bytes of a note that is read. Notes of a log are far smaller. */
const mostBytes = 1 << 20

/** Whether a text can be the name of a key, and of a log. */
export function isName(text) {
  // \p{White_Space} is what Unicode, and the ledger, call white space.
  return text !== "" && text.isWellFormed() && !/[\p{White_Space}\u0000-\u001f+]/u.test(text)
}

/** The public half of a log's key: `NAME+ID+BASE64`, as `jobledger audit key` prints it. */
export class VerifierKey {
  constructor(name, id, bytes) {
    this.name = name
    /** Four bytes. */
    this.id = id
    /** The 32 bytes of the Ed25519 key. */
    this.bytes = bytes
  }

  static async parse(text) {
    const parts = split(text.trim(), "+", 3)
    const bytes = parts.length === 3 ? fromBase64(parts[2]) : null
    if (!bytes || !isName(parts[0]) || bytes.length !== 33 || bytes[0] !== ed25519) {
      throw new Malformed(
        "A verifier key is NAME+ID+KEY on one line, as `jobledger audit key` shows it, and of Ed25519.",
      )
    }
    const id = (await sha256(join(utf8(parts[0]), Uint8Array.of(0x0a), bytes))).subarray(0, 4)
    if (hex(id) !== parts[1]) {
      throw new Malformed("The verifier key's id does not fit its name and key: it was altered or copied in part.")
    }
    return new VerifierKey(parts[0], id, bytes.subarray(1))
  }

  get text() {
    return `${this.name}+${hex(this.id)}+${base64(join(Uint8Array.of(ed25519), this.bytes))}`
  }

  async verifies(signature, text) {
    const key = await crypto.subtle.importKey("raw", this.bytes, { name: "Ed25519" }, false, ["verify"])
    return crypto.subtle.verify({ name: "Ed25519" }, key, signature, utf8(text))
  }
}

/** Splits at the first places only: base64 has a + of its own. */
function split(text, separator, most) {
  const parts = text.split(separator)
  return parts.length <= most ? parts : [...parts.slice(0, most - 1), parts.slice(most - 1).join(separator)]
}

export class SignedNote {
  /** `text` is what is signed; `signatures` are `{name, id, bytes}`; `note` is the whole. */
  constructor(text, signatures, note) {
    Object.assign(this, { text, signatures, note })
  }

  static parse(note) {
    if (utf8(note).length > mostBytes) throw new Malformed(`a note of more than ${mostBytes} bytes`)
    if (/[\u0000-\u0009\u000b-\u001f]/.test(note)) {
      throw new Malformed("a note has no control characters but line feeds")
    }
    // The signatures come after the last empty line.
    const gap = note.lastIndexOf("\n\n")
    if (gap < 0 || !note.endsWith("\n")) throw new Malformed("a note is a text, an empty line and signatures")
    const lines = note
      .slice(gap + 2)
      .split("\n")
      .slice(0, -1)
    if (lines.length === 0) throw new Malformed("the note is not signed")
    return new SignedNote(note.slice(0, gap + 1), lines.map(signature), note)
  }

  /**
   * Whether this key has signed. A false signature in the key's name makes the whole note unsigned;
   * signatures of other keys are ignored.
   */
  async isSigned(key) {
    let isSigned = false
    for (const { name, id, bytes } of this.signatures) {
      if (name !== key.name || !equal(id, key.id)) continue
      if (!(await key.verifies(bytes, this.text))) return false
      isSigned = true
    }
    return isSigned
  }
}

function signature(line) {
  const parts = line.split(" ")
  const bytes = parts.length === 3 ? fromBase64(parts[2]) : null
  if (!bytes || parts[0] !== "—" || !isName(parts[1]) || bytes.length <= 4) {
    throw new Malformed("a signature line must be: — NAME BASE64")
  }
  return { name: parts[1], id: bytes.subarray(0, 4), bytes: bytes.subarray(4) }
}
