// How many samples a second a store takes in: packed, committed and synced, at the default of a commit a minute, or
// whenever half of the blocks that may wait are full. Beside it rows, in transactions of as many samples.

import Store
import StreamCore

private let passes = 8

func ingest(_ data: DemoData, folder: String, isRing: Bool) throws {
  let count = data.samples.count
  var commits: Int64 = 0
  var began = 0.0
  if isRing {
    let bench = try Bench(
      configuration(folder, telemetryBytes: 32 << 20, commitNs: 60_000_000_000, series: data.seriesCount))
    while !bench.report().isPrepared {}
    began = seconds()
    // Never more at once than fits between a bus and the store.
    let part = Limits.samplesPerBatchMax * (Limits.batchesPerBus - 2)
    for _ in 0..<passes {
      var from = 0
      while from < count {
        let end = min(count, from + part)
        bench.hand(data.samples[from..<end], of: data.sources[from..<end])
        commits = bench.report().commits
        from = end
      }
    }
    bench.flush()
    let report = bench.report()
    precondition(report.durable.telemetry == Int64(passes * count) && report.lostSamples == 0, "\(report)")
    commits = report.commits
  } else {
    let rows = try Rows(path: folder + "/rows.db")
    began = seconds()
    for _ in 0..<passes { commits += try rows.insert(data.samples, perCommit: 22_000) }
  }
  print(
    "{\"way\":\"\(isRing ? "ring" : "rows")\",\"samples\":\(passes * count),\"commits\":\(commits),"
      + "\"samples_per_second\":\(Int(Double(passes * count) / (seconds() - began)))}")
}
