import Backtest
import Foundation
import Testing

@Suite struct RunJSONTests {
    private func run(sharpe: Double) -> Run {
        Run(
            index: 7, variables: Assignment(ticker: "sp500", fast: 20, slow: 100),
            metrics: Metrics(
                cagr: 0.1234567, sharpe: sharpe, maxDrawdown: 1.0 / 3, trades: 3, finalEquity: 2, exposure: 0.5))
    }

    @Test func sixDecimalsAndSortedKeys() throws {
        #expect(
            try run(sharpe: -1e-9).json()
                == #"{"metrics":{"cagr":0.123457,"exposure":0.5,"final_equity":2,"max_drawdown":0.333333,"#
                + #""sharpe":0,"trades":3},"#
                + #""run_index":7,"variables":{"fast":20,"slow":100,"ticker":"sp500"}}"#)
    }

    @Test func readsWhatItWrites() throws {
        let text = try run(sharpe: 0.5).json()
        let read = try JSONDecoder().decode(Run.self, from: Data(text.utf8))
        #expect(read.variables == run(sharpe: 0.5).variables)
        #expect(read.metrics.maxDrawdown == 0.333333)
        #expect(try read.json() == text)
    }

    @Test(arguments: [Double.nan, .infinity, -.infinity])
    func neverWritesWhatIsNotFinite(sharpe: Double) {
        #expect(throws: EncodingError.self) { try run(sharpe: sharpe).json() }
    }
}
