// swift-tools-version: 6.2
import PackageDescription

/// What every Swift target shares: the strictest mode that this toolchain has, and no warnings.
let strict: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .treatAllWarnings(as: .error),
    .strictMemorySafety(),
]

let package = Package(
    name: "breakwater",
    platforms: [.macOS(.v26)],
    products: [.executable(name: "breakwater", targets: ["breakwater"])],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
    ],
    targets: [
        .systemLibrary(name: "CLinux"),
        .systemLibrary(name: "CLibpq", pkgConfig: "libpq", providers: [.apt(["libpq-dev"])]),
        .systemLibrary(
            name: "CCurl", pkgConfig: "libcurl", providers: [.apt(["libcurl4-openssl-dev"])]),
        .target(name: "CEmbedded"),

        .target(name: "IO", dependencies: ["CLinux"], swiftSettings: strict),
        .target(name: "JSON", swiftSettings: strict),
        .target(name: "HTTP", dependencies: ["IO", "JSON"], swiftSettings: strict),
        .target(name: "Outbound", dependencies: ["IO", "CCurl"], swiftSettings: strict),
        .target(name: "Postgres", dependencies: ["IO", "CLibpq"], swiftSettings: strict),

        .target(name: "Simulator", dependencies: ["HTTP", "JSON", "IO"], swiftSettings: strict),

        .target(
            name: "ControlPlane",
            dependencies: [
                "Postgres", "Outbound", "IO", "JSON", "CEmbedded",
                .product(name: "Crypto", package: "swift-crypto"),
            ],
            swiftSettings: strict),
        .target(
            name: "API",
            dependencies: [
                "HTTP", "ControlPlane", "Outbound", "Postgres", "IO", "JSON", "CEmbedded",
            ],
            swiftSettings: strict),
        .executableTarget(
            name: "breakwater",
            dependencies: [
                "API", "ControlPlane", "HTTP", "Outbound", "Postgres", "IO", "JSON", "Simulator",
                "CCurl", "CEmbedded", "CLibpq",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "UnixSignals", package: "swift-service-lifecycle"),
            ],
            swiftSettings: strict),

        // Measures the policies under virtual time, `make proof-sim`; no part of the service.
        .executableTarget(
            name: "ProofSimulator",
            dependencies: [
                "ControlPlane", "Simulator", "HTTP", "Postgres", "IO",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: strict),

        .target(
            name: "TestSupport", dependencies: ["IO", "Postgres"], path: "Tests/TestSupport",
            swiftSettings: strict),
        .target(
            name: "ServiceSupport",
            dependencies: [
                "TestSupport", "ControlPlane", "Outbound", "API", "HTTP", "Postgres", "IO", "JSON",
            ],
            path: "Tests/ServiceSupport", swiftSettings: strict),
        .testTarget(name: "IOTests", dependencies: ["IO", "TestSupport"], swiftSettings: strict),
        .testTarget(
            name: "JSONTests", dependencies: ["JSON", "TestSupport"], swiftSettings: strict),
        .testTarget(
            name: "HTTPTests", dependencies: ["HTTP", "TestSupport"], swiftSettings: strict),
        .testTarget(
            name: "SimulatorTests",
            dependencies: ["Simulator", "HTTP", "JSON", "IO", "TestSupport"],
            swiftSettings: strict),
        .testTarget(
            name: "OutboundTests", dependencies: ["Outbound", "IO", "TestSupport"],
            swiftSettings: strict,
            // Its own `getaddrinfo` must be seen by libcurl.
            linkerSettings: [.unsafeFlags(["-Xlinker", "--export-dynamic-symbol=getaddrinfo"])]),
        .testTarget(
            name: "ProofSimulatorTests",
            dependencies: ["ProofSimulator", "ControlPlane", "HTTP", "IO", "TestSupport"],
            swiftSettings: strict),
        .testTarget(
            name: "PostgresTests", dependencies: ["Postgres", "TestSupport"], swiftSettings: strict),
        .testTarget(
            name: "ControlPlaneTests",
            dependencies: [
                "ControlPlane", "Postgres", "IO", "JSON", "TestSupport", "ServiceSupport",
            ],
            exclude: ["Messages"], swiftSettings: strict),
        .testTarget(
            name: "SandboxTests",
            dependencies: [
                "ControlPlane", "Simulator", "Outbound", "HTTP", "JSON", "Postgres", "IO",
                "TestSupport", "ServiceSupport",
            ],
            swiftSettings: strict),
        .testTarget(
            name: "APITests",
            dependencies: [
                "API", "ControlPlane", "HTTP", "JSON", "Outbound", "Postgres", "IO", "Simulator",
                "TestSupport", "ServiceSupport", .product(name: "Yams", package: "Yams"),
            ],
            swiftSettings: strict),
        // Drives the command as processes; of its code it needs the keys and the migrations alone.
        .testTarget(
            name: "EndToEndTests",
            dependencies: [
                "breakwater", "ControlPlane", "Postgres", "IO", "JSON", "TestSupport",
            ],
            exclude: ["Golden"], swiftSettings: strict),
    ]
)
