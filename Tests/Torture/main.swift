// Tortures the store: ends it at any moment, tens of thousands of times, and holds what it finds afterwards against
// what it had said before. `make torture`. Faults 17 and 18.
//
//   torture kills ROUNDS FOLDER     kill -9; FOLDER may be in memory
//   torture cuts ROUNDS FOLDER      the power of an ext4 on a loop device; root only
//
// Exit status: 0 all held, 1 something did not, 77 not possible here. KERB_TORTURE_SEED repeats the times of a run.

import CFaultVFS
import Glibc
import StreamCore

import Store

let arguments = CommandLine.arguments

if arguments.count == 11, arguments[1] == "victim" {
  let numbers = arguments.dropFirst(3).map { UInt64($0) ?? 0 }
  Victim(
    Order(
      path: arguments[2], telemetryBytes: Int(numbers[0]), reserveBytes: Int(numbers[1]), commitNs: Int64(numbers[2]),
      seed: numbers[3], held: Position(alarms: Int64(numbers[4]), telemetry: Int64(numbers[5])),
      eventsAfter: Int64(numbers[6]), isSlow: numbers[7] == 1)
  ).run()
}

guard arguments.count == 4, let rounds = Int(arguments[2]), ["kills", "cuts"].contains(arguments[1]) else {
  tell("torture kills|cuts ROUNDS FOLDER")
  exit(64)
}
let seed = getenv("KERB_TORTURE_SEED").flatMap { UInt64(String(cString: $0)) } ?? UInt64.random(in: 1...UInt64.max)
tell("KERB_TORTURE_SEED=\(seed)")
let folder = arguments[3] + "/kerb-torture-\(getpid())"
guard mkdir(folder, 0o755) == 0 else {
  tell("\(folder): \(String(cString: strerror(errno)))")
  exit(74)
}
var disk: PowerDisk?
if arguments[1] == "cuts" {
  disk = PowerDisk.make(in: folder, bytes: 24 << 20)
  if disk == nil {
    tell("NO POWER CUTS: they need root, a loop device and mkfs.ext4. Only the simulated ones were made.")
    remove(folder)
    exit(77)
  }
}
var loop = Loop(rounds: rounds, folder: disk?.path ?? folder, seed: seed, disk: disk)
let hasHeld = loop.run()
disk?.remove()
if hasHeld {
  remove(folder)
} else {
  tell("the files are in \(folder)")
}
exit(hasHeld ? 0 : 1)
