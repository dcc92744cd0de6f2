import Foundation

/// Writes to standard output, unbuffered: so the progress bar moves, and everything comes in one order.
func write(_ text: String) { FileHandle.standardOutput.write(Data(text.utf8)) }
