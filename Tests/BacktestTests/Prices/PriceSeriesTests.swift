import Backtest
import Testing

@Suite struct PriceSeriesTests {
    @Test func readsDaysAndCloses() throws {
        let series = try PriceSeries(
            csv: "date,close\n1999-12-31,1469.25\n2000-01-03,1455.22\n", file: "f.csv", ticker: "x")
        #expect(series.ticker == "x")
        #expect(series.days.map(\.description) == ["1999-12-31", "2000-01-03"])
        #expect(series.closes == [1469.25, 1455.22])
    }

    @Test func takesWindowsLineEndsAndALastLineWithoutOne() throws {
        let series = try PriceSeries(csv: "date,close\r\n2000-01-03,1\r\n2000-01-04,2", file: "f.csv", ticker: "x")
        #expect(series.closes == [1, 2])
    }

    @Test(arguments: [
        ("", "f.csv:1: the first line must be 'date,close', not ''"),
        ("day,price\n", "f.csv:1: the first line must be 'date,close', not 'day,price'"),
        ("date,close\n2000-01-03,1\n2000-01-04\n", "f.csv:3: expected 2 columns (date, close), found 1"),
        ("date,close\n2000-01-03,1,5\n", "f.csv:2: expected 2 columns (date, close), found 3"),
        ("date,close\n2000-01-03,1\n\n2000-01-04,1\n", "f.csv:3: expected 2 columns (date, close), found 1"),
        ("date,close\n2000-1-3,1\n", "f.csv:2: '2000-1-3' is not a date of the form YYYY-MM-DD"),
        ("date,close\n2001-02-29,1\n", "f.csv:2: '2001-02-29' is not a date of the form YYYY-MM-DD"),
        (
            "date,close\n2000-01-03,1\n2000-01-04,1\n2000-01-04,1\n",
            "f.csv:4: 2000-01-04 does not come after 2000-01-04, the day before it in the series"
        ),
        (
            "date,close\n2000-01-03,1\n1999-12-31,1\n",
            "f.csv:3: 1999-12-31 does not come after 2000-01-03, the day before it in the series"
        ),
        ("date,close\n2000-01-03,1\n", "f.csv: a return needs 2 days, found 1"),
    ])
    func refusesWhatIsNoSeries(text: String, message: String) {
        let error = #expect(throws: PriceFileError.self) { try PriceSeries(csv: text, file: "f.csv", ticker: "x") }
        #expect(error?.description == message)
    }

    @Test(arguments: [
        "", "0", "0.0", "-1", "1e3", "inf", "nan", "0x1p3", "1.2.3", ".", " 1", "1 ", "10000001", "0.00001",
    ])
    func refusesWhatIsNoClose(close: String) {
        let text = "date,close\n2000-01-03,1\n2000-01-04,\(close)\n"
        let error = #expect(throws: PriceFileError.self) { try PriceSeries(csv: text, file: "f.csv", ticker: "x") }
        #expect(error?.line == 3)
        #expect(error?.problem == .close(found: close))
    }

    @Test func namesAFileThatIsNotThere() {
        let error = #expect(throws: PriceFileError.self) { try PriceSeries(contentsOfFile: "/no/such/prices.csv") }
        #expect(error?.file == "/no/such/prices.csv")
        #expect(error?.line == nil)
        #expect(error?.description.hasPrefix("/no/such/prices.csv: cannot be read: ") == true)
    }

    @Test func leapDaysAreDaysInLeapYearsOnly() {
        #expect(TradingDay("2000-02-29") != nil)
        #expect(TradingDay("1900-02-29") == nil)
        #expect(TradingDay("2004-02-29") != nil)
        #expect(TradingDay("2004-04-31") == nil)
        #expect(TradingDay("2004-13-01") == nil)
        #expect(TradingDay("2004-12-00") == nil)
    }
}
