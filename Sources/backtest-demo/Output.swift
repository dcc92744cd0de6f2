import Diagnostics

/// Writes to standard output, unbuffered: so the progress bar moves, and everything comes in one
/// order. The batch goes on where nobody reads: its job is in the ledger.
func write(_ text: String) { try? StandardOutput.write(Array(text.utf8)) }
