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
    targets: [
        .systemLibrary(name: "CLinux"),
        .systemLibrary(name: "CLibpq", pkgConfig: "libpq", providers: [.apt(["libpq-dev"])]),

        .target(name: "IO", dependencies: ["CLinux"], swiftSettings: strict),
        .target(name: "JSON", swiftSettings: strict),
        .target(name: "HTTP", dependencies: ["IO", "JSON"], swiftSettings: strict),
        .target(name: "Postgres", dependencies: ["IO", "CLibpq"], swiftSettings: strict),

        .target(name: "TestSupport", dependencies: ["IO", "Postgres"], path: "Tests/TestSupport", swiftSettings: strict),
        .testTarget(name: "IOTests", dependencies: ["IO", "TestSupport"], swiftSettings: strict),
        .testTarget(name: "JSONTests", dependencies: ["JSON", "TestSupport"], swiftSettings: strict),
        .testTarget(name: "HTTPTests", dependencies: ["HTTP", "TestSupport"], swiftSettings: strict),
        .testTarget(name: "PostgresTests", dependencies: ["Postgres", "TestSupport"], swiftSettings: strict),
    ]
)
