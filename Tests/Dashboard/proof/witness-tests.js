// Tests of dashboard/proof/witness.js.
import { Malformed, utf8 } from "../../../dashboard/proof/bytes.js"
import { VerifierKey } from "../../../dashboard/proof/note.js"
import { Checkpoint, CheckpointUpdate, NotSigned } from "../../../dashboard/proof/tlog.js"
import { HistoryRewritten, Witness } from "../../../dashboard/proof/witness.js"
import { is, test, throws } from "./harness.js"
import { Signer } from "./tree.js"

// Witnesses

test("an update of the ledger", async ({ early, update, key }) => {
  const old = await Checkpoint.parse(early)
  const read = await CheckpointUpdate.parse(update)
  await read.checkpoint.verify(await VerifierKey.parse(key))
  is(await read.continues(old), true)
  const lines = update.split("\n")
  const shorter = [lines[0], ...lines.slice(2)].join("\n")
  is(await (await CheckpointUpdate.parse(shorter)).continues(old), false)
  is(await (await CheckpointUpdate.parse(update.replace(/^old \d+/, "old 1"))).continues(old), false)
  await throws(Malformed, () => CheckpointUpdate.parse(update.replace(/^old /, "old 0")))
})

class TestLog {
  constructor(signer, entries) {
    Object.assign(this, { signer, entries })
  }
  checkpoint() {
    return this.entries.length ? this.signer.checkpoint(this.entries) : null
  }
  consistency(size) {
    return this.signer.update(Number(size), this.entries)
  }
}

class TestMemory {
  text = null
  load() {
    return this.text
  }
  save(text) {
    this.text = text
  }
}

async function witnessed(count) {
  const signer = await Signer.make("log")
  const log = new TestLog(
    signer,
    Array.from({ length: count }, (_, index) => utf8(`${index}`)),
  )
  const memory = new TestMemory()
  const witness = new Witness(await VerifierKey.parse(signer.text), memory, log, { pause: 0 })
  return { signer, log, memory, witness }
}

const more = (log, ...texts) => (log.entries = [...log.entries, ...texts.map(utf8)])

test("a log that grows", async () => {
  const { log, memory, witness } = await witnessed(5)
  is((await witness.look()).before, null)
  more(log, "5", "6")
  const { before, now } = await witness.look()
  is([before.size, now.size], [5n, 7n])
  is(memory.text, now.text)
  is((await witness.look()).now.size, 7n)
})

test("a history that was rewritten and signed again by the same key", async () => {
  const { log, memory, witness } = await witnessed(5)
  await witness.look()
  const kept = memory.text
  log.entries = log.entries.map((entry, index) => (index === 2 ? utf8("other") : entry))
  await throws(HistoryRewritten, () => witness.look(), "the same size")
  more(log, "5", "6", "7")
  await throws(HistoryRewritten, () => witness.look(), "a longer log")
  is(memory.text, kept)
})

test("a log whose end was cut off, that is empty, or is another", async () => {
  const { log, witness, signer, memory } = await witnessed(5)
  await witness.look()
  const entries = log.entries
  log.entries = entries.slice(0, 4)
  await throws(HistoryRewritten, () => witness.look())
  log.entries = []
  await throws(HistoryRewritten, () => witness.look())
  log.entries = entries
  log.signer = await Signer.make("another-log")
  await throws(HistoryRewritten, () => witness.look())
  log.signer = await Signer.make("log")
  more(log, "5")
  await throws(NotSigned, () => witness.look(), "another key of the same name")
  log.signer = signer
  is((await witness.look()).now.size, 6n)
  memory.text = memory.text.replace("\n6\n", "\n5\n")
  await throws(NotSigned, () => witness.look(), "a memory that was altered")
})

test("a memory that was lost or is older does not make the witness forget", async () => {
  const { log, memory, witness } = await witnessed(5)
  await witness.look()
  memory.text = null
  log.entries = log.entries.map(() => utf8("x"))
  await throws(HistoryRewritten, () => witness.look())
})

test("a proof must be of the history that the witness sees", async () => {
  const { log, witness, signer } = await witnessed(6)
  await witness.look()
  await witness.accepts(await Checkpoint.parse(await signer.checkpoint(log.entries.slice(0, 4))))
  const forged = await signer.checkpoint([...log.entries.slice(0, 3), utf8("other")])
  await throws(HistoryRewritten, async () => witness.accepts(await Checkpoint.parse(forged)), "another history")
  const longer = await signer.checkpoint([...log.entries, utf8("more")])
  await throws(HistoryRewritten, async () => witness.accepts(await Checkpoint.parse(longer)), "beyond the log")
})

test("a checkpoint that the log shows, but does not prove", async () => {
  const { log, witness, signer, memory } = await witnessed(5)
  await witness.look()
  const shown = await signer.checkpoint([...log.entries, utf8("never there")])
  log.checkpoint = () => shown
  await throws(HistoryRewritten, () => witness.look(), "at once")
  more(log, "5")
  await throws(HistoryRewritten, () => witness.look(), "another root of the same size")
  const kept = memory.text
  more(log, "6")
  // The log has grown between the two answers: what is kept is what was proved.
  is((await witness.look()).now.size, 7n)
  is(kept === memory.text, false)
})
