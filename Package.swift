// swift-tools-version: 6.2
// The house in one place: which room may use which. Arrows point down only:
//   kerb -> Gateway -> { FieldBus, Store } -> StreamCore      VirtualSite -> FieldBus (profiles only)
import PackageDescription

/// A cross build has no Embedded standard library for its target: KERB_NO_EMBEDDED=1 leaves the gate out there.
let embeddedGate = Context.environment["KERB_NO_EMBEDDED"] == nil

let strict: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .treatAllWarnings(as: .error),
]

/// The optimiser of Debian's Swift 6.2.3 ends in an assertion at Gateway's tests when a cross build optimises them.
let unoptimised: [SwiftSetting] = embeddedGate ? [] : [.unsafeFlags(["-Onone"])]

var targets: [Target] = [
  .systemLibrary(name: "CModbus", pkgConfig: "libmodbus", providers: [.apt(["libmodbus-dev"])]),
  .systemLibrary(name: "CSerialPort", pkgConfig: "libserialport", providers: [.apt(["libserialport-dev"])]),
  .systemLibrary(name: "CSQLite", pkgConfig: "sqlite3", providers: [.apt(["libsqlite3-dev"])]),
  .systemLibrary(name: "CSodium", pkgConfig: "libsodium", providers: [.apt(["libsodium-dev"])]),
  .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
  .systemLibrary(name: "CMosquitto", pkgConfig: "libmosquitto", providers: [.apt(["libmosquitto-dev"])]),
  .systemLibrary(name: "CQREncode", pkgConfig: "libqrencode", providers: [.apt(["libqrencode-dev"])]),
  .target(name: "CLinux"),
  .target(name: "CToml", cxxSettings: [.define("TOML_HEADER_ONLY", to: "1")]),

  .target(name: "StreamCore", swiftSettings: strict),
  .target(
    name: "FieldBus",
    dependencies: ["StreamCore", "CModbus", "CSerialPort", "CSodium", "CLinux", "CToml"],
    swiftSettings: strict),
  .target(name: "Store", dependencies: ["StreamCore", "CSQLite", "CLinux"], swiftSettings: strict),
  .target(
    name: "Gateway",
    dependencies: [
      "FieldBus", "Store", "StreamCore", "CLinux", "CMosquitto", "CSodium", "CZlib",
      .product(name: "NIOCore", package: "swift-nio"),
      .product(name: "NIOPosix", package: "swift-nio"),
      .product(name: "NIOHTTP1", package: "swift-nio"),
      .product(name: "NIOTLS", package: "swift-nio"),
      .product(name: "NIOSSL", package: "swift-nio-ssl"),
      .product(name: "Logging", package: "swift-log"),
    ],
    swiftSettings: strict),
  .target(
    name: "VirtualSite", dependencies: ["FieldBus", "StreamCore", "CModbus", "CLinux"], swiftSettings: strict),
  .executableTarget(
    name: "kerb",
    dependencies: [
      "Gateway", "VirtualSite", "FieldBus", "Store", "StreamCore", "CLinux", "CQREncode",
      .product(name: "ArgumentParser", package: "swift-argument-parser"),
      .product(name: "NIOCore", package: "swift-nio"),
      .product(name: "NIOPosix", package: "swift-nio"),
      .product(name: "NIOHTTP1", package: "swift-nio"),
    ],
    swiftSettings: strict),

  .target(name: "CMallocCount", path: "Tests/CMallocCount"),
  .executableTarget(
    name: "allocation-probe",
    dependencies: ["FieldBus", "StreamCore", "VirtualSite", "CLinux", "CMallocCount"],
    path: "Tests/AllocationProbe", swiftSettings: strict),
  // Faults and cuts for the store: a file system for SQLite, and the loops that end it ten thousand times.
  .target(name: "CFaultVFS", dependencies: ["CSQLite"], path: "Tests/CFaultVFS"),
  .executableTarget(
    name: "torture", dependencies: ["Store", "StreamCore", "CLinux", "CFaultVFS"], path: "Tests/Torture",
    swiftSettings: strict),
  .executableTarget(
    name: "simulation", dependencies: ["FieldBus", "StreamCore", "VirtualSite", "CMallocCount"],
    path: "Tests/Simulation", swiftSettings: strict),
  .executableTarget(
    name: "upstream-bench", dependencies: ["Gateway", "Store", "FieldBus", "StreamCore", "CLinux"],
    path: "Benchmarks/Upstream", swiftSettings: strict),
  // Many boxes in one process, for `make fleet`.
  .executableTarget(
    name: "fleet",
    dependencies: [
      "Gateway", "FieldBus", "Store", "StreamCore", "CLinux",
      .product(name: "NIOPosix", package: "swift-nio"),
      .product(name: "Logging", package: "swift-log"),
    ],
    path: "Tests/Fleet/Boxes", swiftSettings: strict),
  .target(name: "TestSupport", path: "Tests/Support", swiftSettings: strict),
  .testTarget(name: "StreamCoreTests", dependencies: ["StreamCore"], swiftSettings: strict),
  .testTarget(name: "FieldBusTests", dependencies: ["FieldBus", "CLinux", "TestSupport"], swiftSettings: strict),
  .testTarget(name: "StoreTests", dependencies: ["Store", "FieldBus", "CFaultVFS"], swiftSettings: strict),
  .testTarget(
    name: "GatewayTests", dependencies: ["Gateway", "CZlib", "TestSupport"], swiftSettings: strict + unoptimised),
  .testTarget(
    name: "KerbTests", dependencies: ["kerb", "Gateway", "FieldBus", "StreamCore", "CLinux"], swiftSettings: strict),
  .testTarget(
    name: "VirtualSiteTests",
    dependencies: ["VirtualSite", "FieldBus", "StreamCore", "CModbus", "CLinux", "TestSupport"],
    swiftSettings: strict),
]

if embeddedGate {
  targets.append(
    .target(
      name: "StreamCoreEmbedded",
      swiftSettings: strict + [
        .enableExperimentalFeature("Embedded"),
        .unsafeFlags(["-wmo", "-no-allocations"]),
      ]))
}

let package = Package(
  name: "kerb",
  products: [
    .executable(name: "kerb", targets: ["kerb"]),
    // For the benchmarks, which are a package of their own.
    .library(
      name: "KerbParts", targets: ["StreamCore", "FieldBus", "Store", "VirtualSite", "CLinux", "CFaultVFS"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-nio", from: "2.80.0"),
    .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.0"),
    .package(url: "https://github.com/apple/swift-log", from: "1.6.0"),
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.5.0"),
  ],
  targets: targets,
  cxxLanguageStandard: .cxx17
)
