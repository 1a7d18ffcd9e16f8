// swift-tools-version: 6.2
import PackageDescription

// A package of its own, since a fuzzer needs unsafe flags and another `main`. Its sources are links
// into the tree: `package` access ends at a package's edge.

let strict: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .treatAllWarnings(as: .error),
    .strictMemorySafety(),
]

/// libFuzzer brings the `main`.
let fuzzer = strict + [.unsafeFlags(["-parse-as-library"])]

let package = Package(
    name: "fuzz",
    platforms: [.macOS(.v26)],
    targets: [
        .target(name: "JSON", swiftSettings: strict),
        .executableTarget(name: "FuzzJSON", dependencies: ["JSON"], swiftSettings: fuzzer),

        // What reads and writes bytes, without loop, sockets and connections.
        .systemLibrary(name: "CLinux"),
        .target(name: "IO", dependencies: ["CLinux"], swiftSettings: strict),
        .target(
            name: "HTTP", dependencies: ["IO", "JSON"],
            exclude: ["Serving", "Bytes/Socket+Bytes.swift"],
            swiftSettings: strict + [.unsafeFlags(["-enable-testing"])]),
        .executableTarget(
            name: "FuzzHTTP", dependencies: ["HTTP", "IO", "JSON"], swiftSettings: fuzzer),
    ]
)
