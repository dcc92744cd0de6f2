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

    private static func signed(_ message: [UInt8] = plain) -> [UInt8] {
        var message = message
        code.sign(&message)
        return message
    }

    /// Compared with another implementation: `hmac.new(key, message, "sha256").hexdigest()[:32]` in
    /// Python, with the key derived as docs/events.md says.
    @Test func isWhatTheDocsSay() {
        #expect(
            String(decoding: Self.signed(), as: UTF8.self)
                == #"{"position":"7","data":{"mac":"}\""},"mac":"b3da5188400d295dd00d515818b5116d"}"#)
        #expect(Self.signed().count == Self.plain.count + MessageCode.size)
    }

    @Test func verifiesItsOwn() {
        #expect(Self.code.verified(Self.signed()) == Self.plain)
    }

    /// Every bit of a message counts, and so does every missing or extra byte.
    @Test func aChangeAnywhereIsNoticed() {
        let signed = Self.signed()
        for index in signed.indices {
            for bit in 0..<8 {
                var changed = signed
                changed[index] ^= 1 << UInt8(bit)
                #expect(Self.code.verified(changed) == nil, "bit \(bit) of byte \(index)")
            }
            #expect(Self.code.verified(Array(signed[..<index])) == nil)
            #expect(Self.code.verified(Array(signed[(index + 1)...])) == nil)
        }
        #expect(
            Self.code.verified(signed + [0x20]) == nil && Self.code.verified(Self.plain) == nil
                && Self.code.verified([]) == nil)
    }

    /// A message of another ledger, epoch or secret is rejected.
    @Test func otherKeysVerifyNothing() {
        let others = [
            MessageCode(secret: Self.secret, ledger: LedgerName("theirs")!, epoch: Self.epoch),
            MessageCode(secret: Self.secret, ledger: Self.ledger, epoch: .version7()),
            MessageCode(secret: Self.secret.reversed(), ledger: Self.ledger, epoch: Self.epoch),
        ]
        for other in others {
            #expect(other.verified(Self.signed()) == nil)
        }
        #expect(
            MessageCode(secret: Self.secret, ledger: Self.ledger, epoch: Self.epoch).verified(Self.signed())
                == Self.plain
        )
    }

    /// A message that is longer than any of the relay's is rejected.
    @Test func whatIsTooLongIsRejected() {
        let long =
            [UInt8(ascii: "{")] + [UInt8](repeating: 0x20, count: MessageCode.longestMessage) + [UInt8(ascii: "}")]
        #expect(Self.code.verified(Self.signed(long)) == nil)
    }
}
