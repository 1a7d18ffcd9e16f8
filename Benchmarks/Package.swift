// swift-tools-version: 6.2
import PackageDescription

// A package of its own: the product depends on nothing of it. The modules that are measured are links
// into the tree, since `package` access ends at a package's edge.

let strict: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .treatAllWarnings(as: .error),
    .strictMemorySafety(),
]

let package = Package(
    name: "benchmarks",
    platforms: [.macOS(.v26)],
    dependencies: [
        .package(url: "https://github.com/hummingbird-project/hummingbird", exact: "2.28.1")
    ],
    targets: [
        .systemLibrary(name: "CLinux"),
        .target(name: "IO", dependencies: ["CLinux"], swiftSettings: strict),
        .target(name: "JSON", swiftSettings: strict),
        .target(name: "HTTP", dependencies: ["IO", "JSON"], swiftSettings: strict),
        .executableTarget(
            name: "BreakwaterServer", dependencies: ["HTTP", "IO", "JSON"], swiftSettings: strict),
        .executableTarget(
            name: "HummingbirdServer",
            dependencies: [.product(name: "Hummingbird", package: "hummingbird")]),
        .executableTarget(name: "CServer"),
    ]
)
