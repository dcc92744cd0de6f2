/// Rounds figures to the precision that they have in JSON.
enum SixDecimals {
    static func round(_ figure: Double) -> Double {
        // A Double this large has no six decimals, and scaling it could overflow.
        guard abs(figure) < 1e9 else { return figure }
        // Adding zero turns -0 into 0.
        return (figure * 1e6).rounded() / 1e6 + 0
    }
}
