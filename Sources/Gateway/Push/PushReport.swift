// What a push is doing, for `kerb status`, /metrics and the box's own alarm. A value.

import StreamCore

package struct PushReport: Sendable {
  package var name: String
  package var kind: PushKind
  package var target: String
  package var state: PushState
  package var failure: PushFailure?
  /// The broker acknowledges, and had nobody to give the last body to.
  package var isUnheard: Bool
  package var failingSince: Instant?
  package var counts: PushCounts
  package var at: Instant

  package init(
    name: String, kind: PushKind, target: String, state: PushState, failure: PushFailure?,
    isUnheard: Bool = false, failingSince: Instant?,
    counts: PushCounts, at: Instant
  ) {
    self.name = name
    self.kind = kind
    self.target = target
    self.state = state
    self.failure = failure
    self.isUnheard = isUnheard
    self.failingSince = failingSince
    self.counts = counts
    self.at = at
  }

  /// Only a person can set it right.
  package var needsPerson: Bool { failure?.needsPerson ?? false }

  /// What is delivered, and may be lost behind the broker.
  static let unheard =
    "nobody is subscribed to the topic, and the broker throws away what it acknowledges: bind a durable queue to it"
  static let chineseUnheard = "该主题无人订阅，代理确认后即丢弃：请为该主题绑定持久队列"

  /// "waiting 40 s: https://city.example:443/in answered 503"
  package var text: String {
    let doing =
      switch state {
      case .starting(let until): "starts in \(seconds(until)) s"
      case .idle: "idle, everything is delivered"
      case .connecting: "connecting"
      case .sending: "sending"
      case .paused(let until): "paused \(seconds(until)) s by max_rate"
      case .waiting(let until): "waiting \(seconds(until)) s"
      }
    let trouble = failure.map { "\(target) \($0.text)" } ?? (isUnheard ? Self.unheard : nil)
    return trouble.map { "\(doing); \($0)" } ?? doing
  }

  package var chineseText: String {
    let doing =
      switch state {
      case .starting(let until): "\(seconds(until)) 秒后开始"
      case .idle: "空闲，已全部送达"
      case .connecting: "正在连接"
      case .sending: "正在发送"
      case .paused(let until): "受 max_rate 限制，暂停 \(seconds(until)) 秒"
      case .waiting(let until): "等待 \(seconds(until)) 秒"
      }
    let trouble = failure.map { "\(target) \($0.chineseText)" } ?? (isUnheard ? Self.chineseUnheard : nil)
    return trouble.map { "\(doing)；\($0)" } ?? doing
  }

  private func seconds(_ until: Instant) -> Int64 { max(0, until - at) / 1_000_000_000 + 1 }
}

extension JSONWriter {
  package mutating func write(_ report: PushReport) {
    object {
      $0.member("kind", report.kind.rawValue)
      $0.member("url", report.target)
      $0.member("state", report.state.word)
      $0.member("failing", report.failure != nil)
      $0.member("needs_person", report.needsPerson)
      $0.key("says")
      $0.object {
        $0.member("en", report.text)
        $0.member("zh", report.chineseText)
      }
      $0.member("deliveries", report.counts.deliveries)
      $0.member("retries", report.counts.retries)
      $0.member("failures", report.counts.failures)
      $0.member("bytes", report.counts.bytes)
      $0.member("unheard", report.counts.unheard)
      $0.member("nobody_listens", report.isUnheard)
      $0.key("delivered_age_s")
      if let at = report.counts.deliveredAt {
        $0.seconds(milliseconds: (report.at - at) / 1_000_000)
      } else {
        $0.null()
      }
    }
  }
}
