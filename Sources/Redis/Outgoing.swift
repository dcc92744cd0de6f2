/// The unsent commands of one pipeline. They are encoded a few at a time, so that the bytes in
/// flight are bounded.
struct Outgoing {
    /// Beyond this many bytes without a reply no further command is encoded. A single command may
    /// be larger.
    static let mostInFlight = 1 << 20

    private let commands: [RedisCommand]
    /// The encoded size of each command so far, in bytes.
    private var sizes: [Int] = []
    private var answered = 0
    private var inFlight = 0
    private var bytes: [UInt8] = []
    private var written = 0
    private(set) var hasSent = false

    init(_ commands: [RedisCommand]) { self.commands = commands }

    /// Whether encoded bytes wait for the socket.
    var isWaiting: Bool { written < bytes.count }

    /// Notes that the reply to the oldest command has arrived.
    mutating func answer() {
        inFlight -= sizes[answered]
        answered += 1
    }

    /// Whether a reply belongs to a command of this pipeline.
    var expectsReply: Bool { answered < sizes.count }

    /// Writes until the socket is full or enough is in flight.
    mutating func write(to hiredis: HiredisConnection) throws(RedisError) {
        while true {
            if !isWaiting { encode() }
            guard isWaiting else { return }
            let count = try hiredis.write(bytes[written...])
            guard count > 0 else { return }
            hasSent = true
            written += count
        }
    }

    private mutating func encode() {
        bytes.removeAll(keepingCapacity: bytes.capacity <= Self.mostInFlight)
        written = 0
        while sizes.count < commands.count, inFlight < Self.mostInFlight {
            let before = bytes.count
            commands[sizes.count].append(to: &bytes)
            sizes.append(bytes.count - before)
            inFlight += bytes.count - before
        }
    }
}
