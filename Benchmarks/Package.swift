// swift-tools-version: 6.2
// A package of its own, so that what the benchmarks depend on stays out of the agent.
import PackageDescription

// The agent's rooms speak to each other with `package` access; the benchmarks look in by taking the same
// package name, which the package manager derives from the checkout's folder.
let parts = Context.packageDirectory.split(separator: "/")
let folder = parts.dropLast().last.map(String.init) ?? "kerb"
let packageName = String(
  folder.lowercased().map { $0.isASCII && ($0.isLetter || $0.isNumber) ? $0 : "_" })

let settings: [SwiftSetting] = [.swiftLanguageMode(.v6), .unsafeFlags(["-package-name", packageName])]

let package = Package(
  name: "Benchmarks",
  dependencies: [
    .package(name: "kerb", path: ".."),
    .package(url: "https://github.com/ordo-one/benchmark", from: "1.38.0", traits: []),
  ],
  targets: [
    .executableTarget(
      name: "Stream",
      dependencies: [
        .product(name: "KerbParts", package: "kerb"), .product(name: "Benchmark", package: "benchmark"),
      ],
      path: "Benchmarks/Stream", packageAccess: false, swiftSettings: settings,
      plugins: [.plugin(name: "BenchmarkPlugin", package: "benchmark")]),
    .target(name: "CLoop", path: "CLoop", linkerSettings: [.linkedLibrary("modbus")]),
    .executableTarget(
      name: "Wire", dependencies: ["CLoop", .product(name: "KerbParts", package: "kerb")], path: "Wire",
      packageAccess: false,
      swiftSettings: settings),
    .executableTarget(
      name: "StoreBench", dependencies: [.product(name: "KerbParts", package: "kerb")], path: "Store",
      packageAccess: false, swiftSettings: settings),
  ]
)
