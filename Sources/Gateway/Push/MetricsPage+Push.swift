// What /metrics says of the pushes, to who may see the whole box. How far each is behind is in
// kerb_consumer_lag_records, as of every consumer.

import StreamCore

extension MetricsPage {
  func push(into writer: inout MetricsWriter) {
    let reports = desk.pushes()
    func counter(_ name: String, _ help: String, _ value: (PushReport) -> Int64) {
      writer.family("kerb_push_\(name)_total", .counter, help) {
        for report in reports { $0.sample(Double(value(report)), ("push", report.name)) }
      }
    }
    writer.family(
      "kerb_push_up", .gauge, "1: the last body was delivered, or there was none; 0: it fails."
    ) {
      for report in reports {
        $0.sample(
          report.failure == nil ? 1 : 0, ("push", report.name), ("kind", report.kind.rawValue))
      }
    }
    writer.family(
      "kerb_push_needs_person", .gauge, "1: the platform refuses; only a person can set it right."
    ) {
      for report in reports { $0.sample(report.needsPerson ? 1 : 0, ("push", report.name)) }
    }
    counter("deliveries", "Bodies that the platform has acknowledged, since start.") {
      $0.counts.deliveries
    }
    counter("retries", "Bodies sent once more.") { $0.counts.retries }
    counter("unheard", "Of the deliveries: messages for which a broker (MQTT 5) had no subscriber.") {
      $0.counts.unheard
    }
    counter("failures", "Attempts that failed: no way, no answer, or a refusal.") {
      $0.counts.failures
    }
    counter("sent_bytes", "Bytes of bodies sent, after compression, with every repetition.") {
      $0.counts.bytes
    }
    writer.family("kerb_push_delivered_age_seconds", .gauge, "Since the last delivery of this run.")
    {
      for report in reports {
        if let at = report.counts.deliveredAt {
          $0.sample(Double(report.at - at) / 1e9, ("push", report.name))
        }
      }
    }
  }
}
