/// The precision of figures in JSON.
enum SixDecimals {
    static func round(_ figure: Double) -> Double {
        // A figure this large has no six decimals to spare, and scaling it could overflow.
        guard abs(figure) < 1e9 else { return figure }
        // Adding zero turns -0 into 0.
        return (figure * 1e6).rounded() / 1e6 + 0
    }
}
