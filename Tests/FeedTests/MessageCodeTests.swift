import EventStore
import LedgerCore
import Testing

@testable import Feed

@Suite struct MessageCodeTests {
    private static let secret = [UInt8](0..<32)
    private static let epoch = EventID(text: "0198c0de-0000-7000-8000-000000000001")!
    private static let ledger = LedgerName("ours")!
    private static let code = MessageCode(secret: secret, ledger: ledger, epoch: epoch)
    private static let plain = Array(#"{"position":"7","data":{"mac":"}\""}}"#.utf8)

    private static func sealed(_ message: [UInt8] = plain) -> [UInt8] {
        var message = message
        code.seal(&message)
        return message
    }

    /// Held to another implementation: `hmac.new(key, message, "sha256").hexdigest()[:32]` of
    /// Python, with the key made as docs/events.md says.
    @Test func isWhatTheDocsSay() {
        #expect(
            String(decoding: Self.sealed(), as: UTF8.self)
                == #"{"position":"7","data":{"mac":"}\""},"mac":"b3da5188400d295dd00d515818b5116d"}"#)
        #expect(Self.sealed().count == Self.plain.count + MessageCode.size)
    }

    @Test func opensItsOwn() {
        #expect(Self.code.opened(Self.sealed()) == Self.plain)
    }

    /// Each bit of a message counts, and so does each byte that is missing or too much.
    @Test func aChangeAnywhereIsNoticed() {
        let sealed = Self.sealed()
        for index in sealed.indices {
            for bit in 0..<8 {
                var changed = sealed
                changed[index] ^= 1 << UInt8(bit)
                #expect(Self.code.opened(changed) == nil, "bit \(bit) of byte \(index)")
            }
            #expect(Self.code.opened(Array(sealed[..<index])) == nil)
            #expect(Self.code.opened(Array(sealed[(index + 1)...])) == nil)
        }
        #expect(
            Self.code.opened(sealed + [0x20]) == nil && Self.code.opened(Self.plain) == nil
                && Self.code.opened([]) == nil)
    }

    /// Nothing of another ledger, another epoch or another secret is good here.
    @Test func otherKeysOpenNothing() {
        let others = [
            MessageCode(secret: Self.secret, ledger: LedgerName("theirs")!, epoch: Self.epoch),
            MessageCode(secret: Self.secret, ledger: Self.ledger, epoch: .version7()),
            MessageCode(secret: Self.secret.reversed(), ledger: Self.ledger, epoch: Self.epoch),
        ]
        for other in others {
            #expect(other.opened(Self.sealed()) == nil)
        }
        #expect(
            MessageCode(secret: Self.secret, ledger: Self.ledger, epoch: Self.epoch).opened(Self.sealed()) == Self.plain
        )
    }

    /// What is longer than any message is not hashed.
    @Test func whatIsTooLongIsNotOpened() {
        let long =
            [UInt8(ascii: "{")] + [UInt8](repeating: 0x20, count: MessageCode.longestMessage) + [UInt8(ascii: "}")]
        #expect(Self.code.opened(Self.sealed(long)) == nil)
    }
}
