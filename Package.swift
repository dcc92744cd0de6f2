// swift-tools-version: 6.1
import PackageDescription

// Arrows between modules point one way: a target may import only what it lists here, and
// `make build` passes `--explicit-target-dependency-import-check error`, so the build checks it.

let settings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
]

let argumentParser = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let crypto = Target.Dependency.product(name: "Crypto", package: "swift-crypto")
let lifecycle = Target.Dependency.product(name: "ServiceLifecycle", package: "swift-service-lifecycle")
let unixSignals = Target.Dependency.product(name: "UnixSignals", package: "swift-service-lifecycle")
let configuration = Target.Dependency.product(name: "Configuration", package: "swift-configuration")
let hummingbird = Target.Dependency.product(name: "Hummingbird", package: "hummingbird")
let hummingbirdCore = Target.Dependency.product(name: "HummingbirdCore", package: "hummingbird")
let hummingbirdTLS = Target.Dependency.product(name: "HummingbirdTLS", package: "hummingbird")
let httpTypes = Target.Dependency.product(name: "HTTPTypes", package: "swift-http-types")
let nioCore = Target.Dependency.product(name: "NIOCore", package: "swift-nio")
let nioPosix = Target.Dependency.product(name: "NIOPosix", package: "swift-nio")
let nioHTTP1 = Target.Dependency.product(name: "NIOHTTP1", package: "swift-nio")
let nioEmbedded = Target.Dependency.product(name: "NIOEmbedded", package: "swift-nio")
let nioHTTPTypes = Target.Dependency.product(name: "NIOHTTPTypes", package: "swift-nio-extras")
let nioHTTPTypesHTTP1 = Target.Dependency.product(name: "NIOHTTPTypesHTTP1", package: "swift-nio-extras")
let asyncHTTPClient = Target.Dependency.product(name: "AsyncHTTPClient", package: "async-http-client")
let nioSSL = Target.Dependency.product(name: "NIOSSL", package: "swift-nio-ssl")

func library(_ name: String, _ dependencies: [Target.Dependency], plugins: [Target.PluginUsage] = []) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: settings, plugins: plugins)
}

func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .testTarget(name: name, dependencies: dependencies, swiftSettings: settings)
}

let package = Package(
    name: "jobledger",
    products: [
        .executable(name: "jobledger", targets: ["jobledger"]),
        .executable(name: "backtest-demo", targets: ["backtest-demo"]),
        // What a Swift service needs to use a ledger over HTTP, and nothing of the ledger itself.
        .library(name: "LedgerClient", targets: ["LedgerClient"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/apple/swift-configuration", from: "1.4.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1"),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-extras", from: "1.35.2"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.6"),
        .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
    ],
    targets: [
        // The C libraries; only Postgres and Redis see them, and the bench, which measures against
        // libpq as it is.
        .systemLibrary(name: "CLibpq", providers: [.apt(["libpq-dev"])]),
        .systemLibrary(name: "CHiredis", providers: [.apt(["libhiredis-dev"])]),

        // What comes from outside: identities, compared byte by byte, secrets, never shown, and the
        // largest number.
        library("Texts", []),

        // Drivers, which know nothing of jobs.
        library("BlockingIO", []),
        library("PrivateFiles", ["Texts"]),
        // Standard error and output, which may be closed, full or a terminal.
        library("Diagnostics", ["Texts", "BlockingIO", logging]),
        library("Postgres", ["CLibpq", "BlockingIO", "Texts"]),
        library("Redis", ["CHiredis", "BlockingIO", "Texts"]),

        // The ledger.
        library("LedgerCore", ["Texts"]),
        library(
            "EventStore", ["LedgerCore", "Postgres", "BlockingIO", "PrivateFiles", crypto, logging],
            plugins: ["EmbedFiles"]),
        // Categories of streams as data: their rules, compiled for the database.
        library("Categories", ["LedgerCore", "EventStore", "Postgres", crypto], plugins: ["EmbedFiles"]),
        library(
            "Projections", ["LedgerCore", "EventStore", "Categories", "Postgres", "BlockingIO", crypto, logging],
            plugins: ["EmbedFiles"]),
        library("Feed", ["LedgerCore", "EventStore", "Postgres", "Redis", "BlockingIO", crypto, logging]),
        // Merkle trees, tiles, checkpoints and proofs, which know nothing of jobs; and the seal
        // over the log.
        library("TransparencyLog", ["Texts", crypto]),
        library("AuditTrail", ["LedgerCore", "EventStore", "Postgres", "Texts", crypto]),
        library(
            "Seal", ["LedgerCore", "EventStore", "Postgres", "BlockingIO", "PrivateFiles", "TransparencyLog", logging]),

        library(
            "LedgerServer",
            [
                "LedgerCore", "EventStore", "Categories", "Projections", "Feed", "Postgres", "Redis", "BlockingIO",
                crypto, logging, lifecycle,
                hummingbird, hummingbirdCore, hummingbirdTLS, httpTypes, nioCore, nioPosix, nioHTTP1, nioHTTPTypes,
                nioHTTPTypesHTTP1,
                nioSSL, "LedgerSettings", "Seal", "AuditTrail", "TransparencyLog",
            ], plugins: ["EmbedFiles"]),

        library("LedgerClient", ["LedgerCore", "TransparencyLog", asyncHTTPClient, nioCore, nioHTTP1]),

        // Running it.
        library("LedgerSettings", ["LedgerCore", "PrivateFiles", configuration]),
        library("EmbeddedServices", ["Redis", "PrivateFiles", "Texts"]),
        .target(
            name: "LedgerBench",
            dependencies: [
                "CLibpq", "BlockingIO", "Diagnostics", "Postgres", "Redis", "LedgerCore", "EventStore", "Projections",
                "Feed",
                "LedgerServer", "EmbeddedServices", "Seal", "AuditTrail", "TransparencyLog",
                logging,
            ],
            path: "bench/LedgerBench", swiftSettings: settings),
        .executableTarget(
            name: "jobledger",
            dependencies: [
                "LedgerCore", "LedgerSettings", "Postgres", "Redis", "EventStore", "Projections", "Categories", "Feed",
                "LedgerServer",
                "BlockingIO", "PrivateFiles", "Diagnostics",
                "EmbeddedServices", "LedgerBench", "Seal", "AuditTrail", "TransparencyLog", argumentParser, logging,
                lifecycle,
                unixSignals,
                asyncHTTPClient, nioCore, nioPosix, nioHTTP1,
            ],
            swiftSettings: settings),

        // The example: a batch backtest that reports to the ledger.
        library("Backtest", []),
        .executableTarget(
            name: "backtest-demo",
            dependencies: [
                "Backtest", "LedgerCore", "LedgerSettings", "Postgres", "Redis", "EventStore", "Feed", "Diagnostics",
                argumentParser, logging,
            ],
            swiftSettings: settings),

        // The example of a service that uses the client library.
        .executableTarget(
            name: "alerts",
            dependencies: ["LedgerClient", "LedgerCore", argumentParser, logging, lifecycle, unixSignals],
            path: "Examples/alerts", swiftSettings: settings),

        // The files of migrations/, projections/ and categories/ travel inside the binary.
        .executableTarget(name: "embed-files", path: "Sources/EmbedFiles", swiftSettings: settings),
        .plugin(name: "EmbedFiles", capability: .buildTool(), dependencies: ["embed-files"]),

        // A reader for the trials of `scripts/check-ha`.
        .executableTarget(
            name: "follower",
            dependencies: [
                "LedgerClient", "LedgerCore", "LedgerSettings", "Redis", "EventStore", "Feed", "Diagnostics", logging,
            ],
            path: "Tests/Follower", swiftSettings: settings),

        // Tests: those of a module beside its name, with servers of their own.
        .target(
            name: "LedgerTesting",
            dependencies: ["LedgerCore", "Postgres", "Redis", "EventStore", "EmbeddedServices", "BlockingIO"],
            path: "Tests/LedgerTesting", swiftSettings: settings),
        tests("TextsTests", ["Texts", "LedgerTesting"]),
        tests("DiagnosticsTests", ["Diagnostics", "Texts"]),
        tests("BlockingIOTests", ["BlockingIO"]),
        tests("PrivateFilesTests", ["PrivateFiles", "LedgerTesting"]),
        tests("PostgresTests", ["Postgres", "Redis", "BlockingIO", "LedgerTesting", "EmbeddedServices"]),
        tests("RedisTests", ["Redis", "Texts", "EmbeddedServices", "BlockingIO", "LedgerTesting"]),
        tests("LedgerSettingsTests", ["LedgerSettings", "PrivateFiles"]),
        tests("EmbeddedServicesTests", ["EmbeddedServices", "Redis", "Texts", "PrivateFiles", "LedgerTesting"]),
        tests("LedgerCoreTests", ["LedgerCore", "LedgerTesting"]),
        tests("TransparencyLogTests", ["TransparencyLog", "Texts", "LedgerTesting"]),
        tests(
            "AuditTrailTests",
            ["AuditTrail", "Projections", "EventStore", "LedgerCore", "Postgres", "Texts", "LedgerTesting"]),
        tests(
            "SealTests",
            [
                "Seal", "TransparencyLog", "EventStore", "LedgerCore", "Postgres", "PrivateFiles", "BlockingIO",
                "LedgerTesting", "EmbeddedServices", logging,
            ]),
        tests("EventStoreTests", ["EventStore", "LedgerCore", "Postgres", "LedgerTesting", logging]),
        tests(
            "ProjectionsTests",
            [
                "Projections", "Categories", "EventStore", "LedgerCore", "Postgres", "LedgerTesting",
                "EmbeddedServices", logging,
            ]),
        tests("CategoriesTests", ["Categories", "EventStore", "LedgerCore", "Postgres", "LedgerTesting"]),
        tests(
            "FeedTests",
            [
                "Feed", "EventStore", "LedgerCore", "Postgres", "Redis", "BlockingIO", "LedgerTesting",
                "EmbeddedServices", logging,
            ]),
        tests(
            "LedgerServerTests",
            [
                "LedgerServer", "LedgerClient", "LedgerSettings", "Categories", "Projections", "EventStore",
                "LedgerCore", "Postgres", "Redis",
                "BlockingIO", "LedgerTesting", "EmbeddedServices", "Feed", "Seal", "AuditTrail", "TransparencyLog",
                logging,
                lifecycle,
                asyncHTTPClient, httpTypes, nioCore, nioHTTP1, nioEmbedded,
            ]),
        tests("LedgerClientTests", ["LedgerClient", "LedgerCore"]),
        tests("BacktestTests", ["Backtest"]),
        tests(
            "EndToEndTests",
            [
                "jobledger", "backtest-demo", "alerts", "LedgerCore", "Postgres", "Redis", "EventStore",
                "LedgerTesting",
                "EmbeddedServices", "PrivateFiles", "Texts", "TransparencyLog",
                asyncHTTPClient, nioCore, nioHTTP1,
            ]),
    ]
)

// `make test-thread HTTP=no`: the drivers, the log and what reads it, with their tests. Half of a
// build are the libraries that speak HTTP.
if Context.environment["LEDGER_BUILD_HTTP"] == "no" {
    let kept = [
        "CLibpq", "CHiredis", "Texts", "BlockingIO", "PrivateFiles", "Postgres", "Redis", "LedgerCore", "EventStore",
        "Projections", "Categories", "Feed", "TransparencyLog", "Seal", "EmbeddedServices", "embed-files", "EmbedFiles",
        "LedgerTesting", "BlockingIOTests", "PostgresTests", "RedisTests", "EventStoreTests", "ProjectionsTests",
        "CategoriesTests", "FeedTests", "SealTests",
    ]
    package.products = []
    package.targets.removeAll { !kept.contains($0.name) }
}
