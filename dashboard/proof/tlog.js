// C2SP's tlog-checkpoint, tlog-proof and tlog-witness: what a log signs, and the texts of proofs.
import { Malformed, decimal, equal, fromBase64, largestSize } from "./bytes.js"
import { emptyRoot, isConsistent } from "./merkle.js"
import { SignedNote } from "./note.js"

/** The signature, or the name, of a checkpoint is not that of the key. */
export class NotSigned extends Error {
  name = "NotSigned"
}

/** A signed tree head: the log's name, its size (a BigInt) and its root (32 bytes). */
export class Checkpoint {
  constructor(origin, size, root, note) {
    Object.assign(this, { origin, size, root, note })
  }

  static async parse(text) {
    const note = SignedNote.parse(text)
    const lines = note.text.split("\n")
    // The text ends with a line feed, so the last line is empty. Lines after the third are allowed.
    if (lines.length < 4 || lines.slice(0, -1).some(line => line === "")) {
      throw new Malformed("a checkpoint has three lines: the log's name, its size and its root")
    }
    const size = decimal(lines[1])
    if (size === null) throw new Malformed("the second line of a checkpoint is the log's size")
    const root = hashOf(lines[2])
    if (!root) throw new Malformed("the third line of a checkpoint is the root hash in base64")
    if (size === 0n && !equal(root, await emptyRoot())) {
      throw new Malformed("the log has no entries, but the root is not that of an empty log")
    }
    return new Checkpoint(lines[0], size, root, note)
  }

  get text() {
    return this.note.note
  }

  /** Checks that the key belongs to the log of this checkpoint, and has signed it. */
  async verify(key) {
    if (this.origin !== key.name) {
      throw new NotSigned(`The checkpoint is of the log “${this.origin}”, and the pinned key of “${key.name}”.`)
    }
    if (!(await this.note.isSigned(key))) {
      throw new NotSigned(`The checkpoint of ${this.size} events is not signed by the pinned key.`)
    }
  }

  /** Whether both are of one log, with the same entries. */
  isSameAs(other) {
    return this.origin === other.origin && this.size === other.size && equal(this.root, other.root)
  }
}

function hashOf(line) {
  const bytes = fromBase64(line)
  return bytes?.length === 32 ? bytes : null
}

/** Takes the hashes up to an empty line from the lines; returns them and the lines after. */
function takeHashes(lines) {
  const end = lines.indexOf("")
  if (end < 0) throw new Malformed("there is no checkpoint")
  const hashes = lines.slice(0, end).map(hashOf)
  if (hashes.length > 63 || hashes.includes(null)) {
    throw new Malformed("before the checkpoint come up to 63 hashes in base64, one a line, and an empty line")
  }
  return { hashes, rest: lines.slice(end + 1).join("\n") }
}

const firstLine = "c2sp.org/tlog-proof@v1\n"

/** A proof that an entry is in a log: `extra` bytes, `index`, `hashes` and a `checkpoint`. */
export class LogProof {
  constructor(extra, index, hashes, checkpoint) {
    Object.assign(this, { extra, index, hashes, checkpoint })
  }

  /** `checkpoints` keeps what was read: the proofs of a job all end with the same one. */
  static async parse(text, checkpoints = new Map()) {
    if (!text.startsWith(firstLine)) throw new Malformed(`a proof begins with the line ${firstLine.trimEnd()}`)
    let lines = text.split("\n").slice(1)
    let extra = new Uint8Array(0)
    if (lines[0]?.startsWith("extra ")) {
      extra = fromBase64(lines[0].slice(6))
      if (!extra) throw new Malformed("the extra data of the proof is not base64")
      lines = lines.slice(1)
    }
    const index = lines[0]?.startsWith("index ") ? decimal(lines[0].slice(6)) : null
    if (index === null || index >= largestSize) throw new Malformed("a proof names its entry in a line: index N")
    const { hashes, rest } = takeHashes(lines.slice(1))
    if (!checkpoints.has(rest)) checkpoints.set(rest, await Checkpoint.parse(rest))
    return new LogProof(extra, index, hashes, checkpoints.get(rest))
  }

  /** Reads several proofs, one after the other. */
  static async list(text) {
    if (!text.startsWith(firstLine)) throw new Malformed(`a proof begins with the line ${firstLine.trimEnd()}`)
    const proofs = []
    const checkpoints = new Map()
    for (const part of text.slice(firstLine.length).split("\n" + firstLine)) {
      proofs.push(await LogProof.parse(firstLine + part + (part.endsWith("\n") ? "" : "\n"), checkpoints))
    }
    return proofs
  }
}

/** A checkpoint with the proof that the log has only grown since an older one. */
export class CheckpointUpdate {
  constructor(oldSize, hashes, checkpoint) {
    Object.assign(this, { oldSize, hashes, checkpoint })
  }

  static async parse(text) {
    const lines = text.split("\n")
    const oldSize = lines[0].startsWith("old ") ? decimal(lines[0].slice(4)) : null
    if (oldSize === null) throw new Malformed("the first line must be: old SIZE")
    const { hashes, rest } = takeHashes(lines.slice(1))
    return new CheckpointUpdate(oldSize, hashes, await Checkpoint.parse(rest))
  }

  /** Whether the proof shows that the log of `old` is the beginning of this one. */
  async continues(old) {
    const { checkpoint } = this
    return (
      this.oldSize === old.size &&
      (await isConsistent(old.size, old.root, checkpoint.size, checkpoint.root, this.hashes))
    )
  }
}
