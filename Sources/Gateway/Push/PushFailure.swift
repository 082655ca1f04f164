// Why a batch did not arrive, by what the box does next, and in words for a person. Values only.

import StreamCore

package enum PushFailure: Error, Sendable, Equatable {
  /// No way to the platform: name, route, TLS, a connection that broke. Back off.
  case unreachable(String)
  /// No answer in time; the batch may have arrived. Back off, and send it again.
  case silent
  /// 429, 5xx: it said «later». Back off, for at least `afterNs`.
  case busy(status: UInt, afterNs: Int64?)
  /// No sense in what came back. Back off.
  case garbled(String)
  /// The platform wants none of this box: token, path, format. Slowly again, until somebody has set it right.
  case refused(String)
  /// The platform does not take this very batch. Slowly again; the other lane goes on.
  case rejected(String)
  /// Too large: half of it.
  case tooLarge
}

extension PushFailure {
  /// Only a person can end it.
  package var needsPerson: Bool {
    switch self {
    case .refused, .rejected: true
    default: false
    }
  }

  package var text: String {
    switch self {
    case .unreachable(let why): "can't be reached: \(why)"
    case .silent: "no answer in time"
    case .busy(let status, _): "answered \(status)"
    case .garbled(let what): "answers without sense: \(what)"
    case .refused(let why): "refuses this box: \(why)"
    case .rejected(let why): "does not take a batch: \(why)"
    case .tooLarge: "does not take bodies of this size"
    }
  }

  package var chineseText: String {
    switch self {
    case .unreachable(let why): "无法连接：\(why)"
    case .silent: "未按时应答"
    case .busy(let status, _): "应答 \(status)"
    case .garbled(let what): "应答无法识别：\(what)"
    case .refused(let why): "拒绝本机：\(why)"
    case .rejected(let why): "不接受某批数据：\(why)"
    case .tooLarge: "不接受这么大的数据"
    }
  }

  static let proxyLogin =
    "the proxy wants a name and a password, or others: look at `proxy_username` and `proxy_password_file`"

  /// Of an HTTP status; nil: delivered.
  package static func of(status: UInt, afterNs: Int64?, location: String, reason: String)
    -> PushFailure?
  {
    let said = "\(status)" + (reason.isEmpty ? "" : " «\(reason)»")
    switch status {
    case 200..<300: return nil
    case 300..<400:
      return .refused("\(said): it sends us to \(location); write that as `url` if it is right")
    case 401, 403: return .refused("\(said): look at `token_file` and at what the platform allows")
    case 404, 405, 410: return .refused("\(said): there is nothing to push to at this `url`")
    case 407:
      return .refused("\(said): \(proxyLogin)")
    case 406, 415: return .refused("\(said): another `format`, or without `gzip`")
    case 413: return .tooLarge
    case 408, 425, 429: return .busy(status: status, afterNs: afterNs)
    case 501, 505: return .refused("\(said): this is no platform that takes a POST")
    case 500..<600: return .busy(status: status, afterNs: afterNs)
    case 400..<500: return .rejected("\(said): its log says why; nothing is thrown away meanwhile")
    default: return .garbled("status \(status)")
    }
  }
}
