/// How many events of the log a projection folds at once: the setting `JOBLEDGER_WINDOW` and the
/// option `--window`.
package enum WindowSize {
    package static let allowed = 1...1_000_000
    package static let standard = 100_000
}
