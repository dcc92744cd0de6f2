import Foundation

extension PriceSeries {
    /// Reads a CSV file with the header `date,close`.
    /// - Parameters:
    ///   - path: of the file. Errors have it, too.
    ///   - ticker: by default the file name without its extension: `sp500` for
    ///     `data/prices/sp500.csv`.
    package init(contentsOfFile path: String, ticker: String? = nil) throws(PriceFileError) {
        let text: String
        do {
            text = try String(contentsOfFile: path, encoding: .utf8)
        } catch {
            throw PriceFileError(file: path, line: nil, problem: .unreadable(reason: error.localizedDescription))
        }
        let name = URL(fileURLWithPath: path).deletingPathExtension().lastPathComponent
        try self.init(csv: text, file: path, ticker: ticker ?? name)
    }

    /// Reads the text of such a file.
    /// - Parameter file: the name of the file in errors.
    package init(csv text: String, file: String, ticker: String) throws(PriceFileError) {
        let lines = Self.lines(of: text)
        let header = lines.first ?? ""
        guard header == "date,close" else {
            throw PriceFileError(file: file, line: 1, problem: .header(found: String(header)))
        }
        var dailyCloses: [DailyClose] = []
        dailyCloses.reserveCapacity(lines.count - 1)
        for (index, line) in lines.enumerated().dropFirst() {
            do throws(PriceProblem) {
                dailyCloses.append(try Self.dailyClose(line))
            } catch {
                throw PriceFileError(file: file, line: index + 1, problem: error)
            }
        }
        do throws(PriceSeriesError) {
            try self.init(ticker: ticker, dailyCloses)
        } catch {
            // Day 0 stands on line 2, below the header, and no line was skipped.
            throw PriceFileError(file: file, line: error.index.map { $0 + 2 }, problem: error.problem)
        }
    }

    /// The lines, ended by LF or CRLF. Split as bytes: "\r\n" is a single `Character`, and bytes
    /// are quicker.
    private static func lines(of text: String) -> [Substring] {
        var lines = text.utf8.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).map { line in
            Substring(line.last == UInt8(ascii: "\r") ? line.dropLast() : line)
        }
        // What follows the last line's end is no line.
        if lines.last == "" { lines.removeLast() }
        return lines
    }

    private static func dailyClose(_ line: Substring) throws(PriceProblem) -> DailyClose {
        let columns = line.utf8.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false).map {
            Substring($0)
        }
        guard columns.count == 2 else { throw .columns(found: columns.count) }
        guard let day = TradingDay(columns[0]) else { throw .date(found: String(columns[0])) }
        // `Double` alone would also read "inf", "nan" and "0x1p3".
        guard columns[1].utf8.allSatisfy(isDecimal), let price = Double(columns[1]), acceptedCloses.contains(price)
        else {
            throw .close(found: String(columns[1]))
        }
        return DailyClose(day: day, price: price)
    }

    private static func isDecimal(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: ".") || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
    }
}
