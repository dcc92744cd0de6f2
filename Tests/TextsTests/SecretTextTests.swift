import Testing
import Texts

@Suite struct SecretTextTests {
    private struct Holder { var address: SecretText? = SecretText("hunter2") }

    @Test func isNeverShown() {
        let secret = SecretText("hunter2")
        var dumped = ""
        dump(Holder(), to: &dumped)
        dump([secret], to: &dumped)
        let texts = [
            "\(secret)", "\(Holder())", "\([secret])", String(reflecting: secret), String(reflecting: Holder()), dumped,
        ]
        for text in texts { #expect(!text.contains("hunter2") && !text.isEmpty) }
        #expect(secret.revealed == "hunter2")
    }
}
