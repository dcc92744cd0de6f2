// Tests of dashboard/proof, for a browser and for any other runtime with WebCrypto:
// `run(vectors)` → [{name, problem}], where problem is null if the test passed.
import { Malformed, decimal, fromBase64, hex, textOf, utf8 } from "../../../dashboard/proof/bytes.js"
import { NotProved, checkEvent, checkJob, checkProofs, differences } from "../../../dashboard/proof/check.js"
import { leafBytes, parseEvent } from "../../../dashboard/proof/event.js"
import { inclusionRoot, isConsistent, leafHash } from "../../../dashboard/proof/merkle.js"
import { SignedNote, VerifierKey } from "../../../dashboard/proof/note.js"
import { microseconds } from "../../../dashboard/proof/time.js"
import { Checkpoint, LogProof, NotSigned } from "../../../dashboard/proof/tlog.js"
import { flipped, is, test, throws, withEvent } from "./harness.js"
import { Signer, consistency, path, root } from "./tree.js"
import "./witness-tests.js"

export { run } from "./harness.js"

// Bytes and texts

test("base64 has one spelling", () => {
  for (const wrong of ["QQ", "QR==", "QQ= =", "Q\nQ==", "QQ==\n", "-_==", "QQ=A"]) is(fromBase64(wrong), null, wrong)
  is(hex(fromBase64("AP8=")), "00ff")
})

test("sizes have one spelling and an end", () => {
  for (const wrong of ["", "01", "+1", "-1", " 1", "1.0", "4611686018427387904", "99999999999999999999"]) {
    is(decimal(wrong), null, wrong)
  }
  is(decimal("4611686018427387903"), (1n << 62n) - 1n)
})

test("a lone surrogate has no UTF-8", () => throws(Malformed, () => utf8("\ud800")))

test("times to the microsecond", () => {
  is(microseconds("1970-01-01T00:00:00Z"), 0n)
  is(microseconds("1969-12-31T23:59:59.9999999Z"), -1n)
  is(microseconds("2026-11-23T21:45:01.5+01:00"), 1795466701500000n)
  is(microseconds("0000-01-01T00:00:00Z"), -62_167_219_200_000_000n)
  is(microseconds("9999-12-31T23:59:59.999999Z"), 253_402_300_799_999_999n)
  for (const wrong of [
    "2026-02-29T00:00:00Z",
    "2026-01-01T24:00:00Z",
    "2026-01-01T00:00:60Z",
    "2026-01-01T00:00:00",
    "2026-01-01",
    "0000-01-01T00:00:00+00:01",
    "2026-01-01T00:00:00.Z",
  ])
    is(microseconds(wrong), null, wrong)
})

// Trees

test("inclusion in trees of up to 33 leaves, and nothing else", async () => {
  const entries = Array.from({ length: 33 }, (_, index) => utf8(`entry ${index}`))
  for (let size = 1; size <= entries.length; size++) {
    const some = entries.slice(0, size)
    const expected = hex(await root(some))
    for (const index of new Set([0, 1, size >> 1, size - 2, size - 1].filter(i => i >= 0 && i < size))) {
      const hashes = await path(index, some)
      const leaf = await leafHash(some[index])
      const found = async (i, n, h) => {
        const result = await inclusionRoot(leaf, BigInt(i), BigInt(n), h)
        return result && hex(result)
      }
      is(await found(index, size, hashes), expected, `${index} of ${size}`)
      is(await found(index, size, [...hashes, leaf]), null, "a longer path")
      if (hashes.length > 0) is((await found(index, size, hashes.slice(1))) === expected, false, "a shorter path")
      if (size > 1) is((await found((index + 1) % size, size, hashes)) === expected, false, "another place")
      is(await found(size, size, hashes), null, "beyond the tree")
    }
  }
})

test("consistency of trees of up to 33 leaves, and nothing else", async () => {
  const entries = Array.from({ length: 33 }, (_, index) => utf8(`entry ${index}`))
  const roots = []
  for (let size = 0; size <= entries.length; size++) roots.push(await root(entries.slice(0, size)))
  for (let old = 0; old <= entries.length; old++) {
    for (let size = old; size <= entries.length; size += 1 + (size % 3)) {
      const hashes = await consistency(old, entries.slice(0, size))
      const holds = (o, oRoot, n, nRoot, h) => isConsistent(BigInt(o), oRoot, BigInt(n), nRoot, h)
      is(await holds(old, roots[old], size, roots[size], hashes), true, `${old} to ${size}`)
      is(await holds(old, roots[old], size, roots[size], [...hashes, roots[1]]), false, "a longer proof")
      if (hashes.length > 0)
        is(await holds(old, roots[old], size, roots[size], hashes.slice(1)), false, "a shorter proof")
      const other = await leafHash(utf8("other"))
      is(await holds(old, other, size, roots[size], hashes), false, "another old root")
      if (old > 0) is(await holds(old, roots[old], size, other, hashes), false, "another new root")
      if (old < size) is(await holds(size, roots[size], old, roots[old], hashes), false, "backwards")
    }
  }
})

// Keys and checkpoints

test("verifier keys", async ({ key }) => {
  is((await VerifierKey.parse(`  ${key}\n`)).text, key)
  const [name, id] = [key.slice(0, key.indexOf("+")), key.split("+")[1]]
  for (const wrong of [
    "",
    name,
    key.replace(name, "other"),
    key.replace(id, "00000000"),
    key.replace(/.$/, "A"),
    key + "A",
    key.replace("+AY", "+BY"),
    `PRIVATE+KEY+${key}`,
  ])
    await throws(Malformed, () => VerifierKey.parse(wrong), wrong)
})

test("a checkpoint of the ledger", async ({ key, early }) => {
  const checkpoint = await Checkpoint.parse(early)
  const verifier = await VerifierKey.parse(key)
  await checkpoint.verify(verifier)
  is(checkpoint.text, early)
  is(checkpoint.origin, verifier.name)
})

test("a checkpoint with another size, root, name or signature", async ({ key, early }) => {
  const verifier = await VerifierKey.parse(key)
  const lines = early.split("\n")
  const replaced = (index, line) => lines.map((old, i) => (i === index ? line : old)).join("\n")
  const signature = lines[4].split(" ")
  for (const altered of [
    replaced(1, `${Number(lines[1]) + 1}`),
    replaced(2, flipped(lines[2], 5)),
    replaced(0, lines[0] + "x"),
    replaced(4, `— ${signature[1]} ${flipped(signature[2], 30)}`),
    replaced(4, `— other ${signature[2]}`),
    replaced(4, `— ${signature[1]} ${flipped(signature[2], 0)}`),
    replaced(2, lines[2] + "\nmore"),
    early + `— ${signature[1]} ${flipped(signature[2], 30)}\n`,
  ])
    await throws(NotSigned, async () => (await Checkpoint.parse(altered)).verify(verifier), altered)
  for (const broken of [
    replaced(1, "0" + lines[1]),
    replaced(2, ""),
    replaced(4, ""),
    early.trimEnd(),
    early.replace("—", "-"),
    early.replaceAll("\n", "\r\n"),
    lines.slice(0, 3).join("\n") + "\n",
    replaced(1, "0"),
  ])
    await throws(Malformed, () => Checkpoint.parse(broken), broken)
})

test("signatures of others are ignored", async ({ key, early }) => {
  const other = await Signer.make("someone/else")
  const text = SignedNote.parse(early).text
  const both = early + (await other.note(text)).split("\n\n")[1]
  await (await Checkpoint.parse(both)).verify(await VerifierKey.parse(key))
})

test("a checkpoint of another key of the same name", async ({ key, early }) => {
  const verifier = await VerifierKey.parse(key)
  const other = await Signer.make(verifier.name)
  const forged = await other.note(SignedNote.parse(early).text)
  await throws(NotSigned, async () => (await Checkpoint.parse(forged)).verify(verifier))
})

// Proofs of events

test("an event of the ledger", async ({ key, eventProof }) => {
  const { event, checkpoint } = await checkEvent(eventProof, await VerifierKey.parse(key), { position: "1" })
  is(event.position, 1n)
  is(checkpoint.size >= 1n, true)
  is(
    differences(event, { position: "1", type: event.type, data: event.data, job: event.stream_id, actor: undefined }),
    [],
  )
  is(differences(event, { type: "finished", data: event.data + " " }), ["type", "data"])
})

test("an event whose data are withheld", async ({ key, withheldProof }) => {
  const { event } = await checkEvent(withheldProof, await VerifierKey.parse(key), {})
  is(event.data, null)
  is(event.data_sha256.length, 64)
})

test("a sound proof of another event is no answer", async ({ key, eventProof }) => {
  const verifier = await VerifierKey.parse(key)
  await throws(NotProved, () => checkEvent(eventProof, verifier, { position: "2" }))
  await throws(NotProved, () => checkEvent(eventProof, verifier, { id: "00000000-0000-0000-0000-000000000000" }))
})

test("an event with one altered member", async ({ key, jobProof }) => {
  const verifier = await VerifierKey.parse(key)
  const first = jobProof.slice(0, jobProof.indexOf("\nc2sp.org") + 1)
  await checkProofs(first, verifier)
  const members = JSON.parse(textOf(fromBase64(/^extra (.*)$/m.exec(first)[1])))
  const next = {
    category: "user",
    event_id: "01a22e1e-2974-7f81-bf0a-4f5cdc2c1f24",
    stream_id: "other",
    type: "failed",
    occurred_at: "1969-07-20T20:17:40.123457Z",
    recorded_at: "2026-11-30T20:33:06Z",
    version: 2,
    total: 4,
    completed: 0,
    data: members.data.replace("Exact", "exact"),
    metadata: members.metadata.replace("ada", "bob"),
  }
  for (const name in next) {
    const altered = withEvent(first, () => JSON.stringify({ ...members, [name]: next[name] }))
    await throws(NotProved, () => checkProofs(altered, verifier), name)
  }
  const withoutTime = { ...members }
  delete withoutTime.occurred_at
  await throws(NotProved, () =>
    checkProofs(
      withEvent(first, () => JSON.stringify(withoutTime)),
      verifier,
    ),
  )
  const moved = withEvent(first, () => JSON.stringify({ ...members, position: members.position + 1 }))
  await throws(NotProved, () => checkProofs(moved, verifier), "position")
  const bothMoved = moved.replace(/^index (\d+)$/m, (_, index) => `index ${Number(index) + 1}`)
  await throws(NotProved, () => checkProofs(bothMoved, verifier), "position and index")
})

test("every flipped bit of the data", async ({ key, eventProof }) => {
  const verifier = await VerifierKey.parse(key)
  const members = JSON.parse(textOf(fromBase64(/^extra (.*)$/m.exec(eventProof)[1])))
  for (let place = 0; place < Math.min(members.data.length, 200); place += 3) {
    const data =
      members.data.slice(0, place) +
      String.fromCharCode(members.data.charCodeAt(place) ^ 1) +
      members.data.slice(place + 1)
    const altered = withEvent(eventProof, () => JSON.stringify({ ...members, data }))
    await throws(NotProved, () => checkProofs(altered, verifier), `the letter ${place}`)
  }
})

test("a path that is cut, lengthened or altered", async ({ key, eventProof }) => {
  const verifier = await VerifierKey.parse(key)
  const lines = eventProof.split("\n")
  const [start, end] = [3, lines.indexOf("")]
  for (let index = start; index < end; index++) {
    const without = lines.filter((_, i) => i !== index).join("\n")
    await throws(NotProved, () => checkProofs(without, verifier), `without the hash ${index}`)
    const altered = lines.map((line, i) => (i === index ? flipped(line, 31) : line)).join("\n")
    await throws(NotProved, () => checkProofs(altered, verifier), `with another hash ${index}`)
  }
  const longer = [...lines.slice(0, end), lines[start], ...lines.slice(end)].join("\n")
  await throws(NotProved, () => checkProofs(longer, verifier), "a longer path")
})

test("JSON that readers may understand in different ways", async ({ key, eventProof }) => {
  const verifier = await VerifierKey.parse(key)
  const change = edit => throws(Malformed, () => checkProofs(withEvent(eventProof, edit), verifier), `${edit}`)
  await change(json => json.replace("{", '{"type":"failed",'))
  await change(json => json.replace("{", '{"\\u0074ype":"failed",'))
  await change(json => json.replace("{", '{"note":"x",'))
  await change(json => json.replace("{", '{"note":{},'))
  await change(json => json.replace('"position":1', '"position":1.0'))
  await change(json => json.replace('"position":1', '"position":1e0'))
  await change(json => json.replace('"position":1', '"position":"1"'))
  await change(json => json + "x")
  await change(json => json.slice(0, -1))
  await change(json => json.replace('"version":1', '"version":2147483648'))
  await change(json => json.replace(/"data":/, '"data_sha256":"' + "0".repeat(64) + '","data":'))
  await change(json => json.replace(/"recorded_at":"/, '"recorded_at":"x'))
  is(parseEvent(textOf(fromBase64(/^extra (.*)$/m.exec(eventProof)[1]))).position, 1n)
})

test("the whole life of a job", async ({ key, job, jobProof }) => {
  const verifier = await VerifierKey.parse(key)
  const { events, isWhole } = await checkJob(jobProof, verifier, job)
  is(
    events.map(event => event.type),
    ["queued", "progress", "truncated", "finished"],
  )
  is(isWhole, true)
  is(events[0].occurred_at, "1969-07-20T20:17:40.123456Z")
  is(events[0].data.includes("123456789012345678901234567890"), true)
  const parts = jobProof.split(/(?=^c2sp\.org)/m)
  is((await checkJob(parts.slice(0, 3).join(""), verifier, job)).isWhole, false)
  await throws(NotProved, () => checkJob(parts.slice(1).join(""), verifier, job), "without the first")
  await throws(NotProved, () => checkJob([parts[0], parts[2], parts[3]].join(""), verifier, job), "with a gap")
  await throws(NotProved, () => checkJob([parts[1], parts[0]].join(""), verifier, job), "in another order")
  await throws(NotProved, () => checkJob(jobProof, verifier, job.normalize("NFD")), "another job that looks alike")
  await throws(NotProved, () => checkJob([...parts, parts[3]].join(""), verifier, job), "with one twice")
})

test("proofs by different checkpoints", async ({ key, job, jobProof }) => {
  const [first, second] = jobProof.split(/(?=^c2sp\.org)/m)
  const altered = first + second.replace(/^\d+$/m, "9")
  await throws(NotProved, async () => checkJob(altered, await VerifierKey.parse(key), job))
})

test("the canonical bytes", async () => {
  const event =
    parseEvent(`{"position":7,"event_id":"00112233-4455-6677-8899-aabbccddeeff","category":"job","stream_id":"a",
    "version":1,"type":"queued","recorded_at":"1970-01-01T00:00:00.000001Z","total":-1,"data":"{}","metadata":"{}"}`)
  const hash = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
  is(
    hex(await leafBytes(event)),
    hex(utf8("jobledger/event/v1\n")) +
      "00000010" +
      "00112233445566778899aabbccddeeff" +
      "00000003" +
      "6a6f62" +
      "00000001" +
      "61" +
      "00000004" +
      "00000001" +
      "00000006" +
      "717565756564" +
      "00000020" +
      hash +
      "00000020" +
      hash +
      "ffffffff" +
      "00000008" +
      "0000000000000001" +
      "00000004" +
      "ffffffff" +
      "ffffffff",
  )
})

test("what is no proof", async ({ eventProof, early }) => {
  for (const text of [
    "",
    "{}",
    early,
    eventProof.replace("@v1", "@v2"),
    eventProof.replace(/^index .*$/m, "index -1"),
    eventProof.replace(/^extra .*$/m, "extra *"),
  ])
    await throws(Malformed, () => LogProof.list(text), text.slice(0, 40))
})
