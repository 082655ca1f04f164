// A load generator: many boxes in one process, each with its own store, cursor, push machine and MQTT connection, as
// `kerb run` has them; only the lines with their devices are missing. What it tells on stdout, one object a line:
//
//   {"box":"box-0001","store":"…"}                                   a box is ready
//   {"second":1,"produced":…,"opened":…,"lost":…,"refused":…}        sums over all boxes
//   {"end":"box-0001","alarms":17,"telemetry":600,…}                 what is durable, and what was delivered of it
//   {"settled":true}                                                 every box has delivered everything
//
// It makes records for the seconds given, then delivers what is left, and ends. When stdin ends, it ends at once.
// Main thread: makes records and keeps the second. Each box has a store thread, its push lives on the shared loop.

import CLinux
import Glibc
import Logging
import NIOPosix

let arguments = CommandLine.arguments.dropFirst().map { $0 }
guard arguments.count == 5, let boxes = Int(arguments[0]), let seconds = Int64(arguments[1]),
  let rate = Int64(arguments[2]), (1...2_000).contains(boxes), (1...3_600).contains(seconds), (1...1_000).contains(rate)
else {
  tell("usage: fleet BOXES SECONDS SAMPLES-A-SECOND URL FOLDER", to: 2)
  exit(64)
}

// Each box has two databases with their journals, and sockets.
var files = rlimit()
getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &files)
files.rlim_cur = min(files.rlim_max, rlim_t(64 + 32 * boxes))
setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &files)

var fleet = Fleet(boxes: boxes, samplesPerSecond: rate, url: arguments[3], folder: arguments[4])
exit(fleet.run(seconds: seconds) ? 0 : 1)
