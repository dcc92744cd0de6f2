import Diagnostics

/// Writes to standard output without a buffer, so that the progress bar moves.
///
/// A failure is ignored on purpose: where nobody reads the output, the batch goes on, and its job
/// is in the ledger.
func write(_ text: String) { try? StandardOutput.write(Array(text.utf8)) }
