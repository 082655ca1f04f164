// The alarms that every box has, without anybody having to write them: what can go wrong with a device, a
// bus, the box itself.

import StreamCore

package enum BuiltInAlarm: String, Sendable, CaseIterable {
  case deviceOffline = "device-offline"
  case busLost = "bus-lost"
  case bufferFull = "buffer-full"
  case storageFailing = "storage-failing"
  case clockWrong = "clock-wrong"
  case certificateExpiring = "certificate-expiring"
  case personalKeyMissing = "personal-key-missing"
  case alarmFlood = "alarm-flood"
  case pushFailing = "push-failing"

  /// No alarm: the name under which the log has a platform's commands to a device.
  package static let command = "command"
  package static let commandMessage = ["en": "Command to {device}", "zh": "对 {device} 下达的命令"]

  package var source: AlarmSource {
    switch self {
    case .deviceOffline: .deviceOffline
    case .busLost: .busLost
    default: .gateway
    }
  }

  private static let secondNs: Int64 = 1_000_000_000

  /// As it is if the configuration says nothing else.
  package func spec(at place: SourcePlace) -> AlarmSpec {
    var alarm = AlarmSpec(name: rawValue, place: place, when: "", whenPlace: place)
    alarm.source = source
    alarm.message = message
    switch self {
    case .deviceOffline:
      alarm.forNs = 10 * Self.secondNs
    case .busLost:
      // A replugged adapter is back in under two seconds. Shorter than a device's time, so that the bus explains it.
      alarm.forNs = 5 * Self.secondNs
      alarm.severity = .major
    case .bufferFull:
      alarm.severity = .major
      alarm.clearForNs = 60 * Self.secondNs
    case .storageFailing:
      alarm.severity = .critical
      alarm.clearForNs = 60 * Self.secondNs
    case .pushFailing:
      // Longer than a platform's restart.
      alarm.forNs = 300 * Self.secondNs
    case .clockWrong, .certificateExpiring, .alarmFlood: break
    case .personalKeyMissing:
      alarm.severity = .critical
      alarm.latches = true
    }
    return alarm
  }

  private var message: [String: String] {
    switch self {
    case .deviceOffline: ["en": "{device} does not answer: power, cable or address", "zh": "{device} 无应答：检查电源、线缆或地址"]
    case .busLost:
      ["en": "Bus {bus} is lost: the port can't be used, or nobody answers", "zh": "总线 {bus} 中断：端口不可用，或无人应答"]
    case .bufferFull:
      [
        "en": "{gateway}: the disk is full; new values wait in memory and will be lost when that is full, too",
        "zh": "{gateway}：磁盘已满；新数据暂存内存，内存满后将丢失",
      ]
    case .storageFailing:
      ["en": "{gateway}: the storage fails: look at the card or disk", "zh": "{gateway}：存储故障：检查存储卡或磁盘"]
    case .clockWrong:
      [
        "en": "{gateway}: the clock is wrong: no time server answers, or the time has jumped",
        "zh": "{gateway}：时钟有误：时间服务器无应答，或时间跳变",
      ]
    case .certificateExpiring:
      ["en": "{gateway}: the TLS certificate expires soon: renew it", "zh": "{gateway}：TLS 证书即将过期：请更新"]
    case .personalKeyMissing:
      [
        "en": "{gateway}: the key for personal data is missing: restore box.key, or all pseudonyms change",
        "zh": "{gateway}：个人数据密钥丢失：请恢复 box.key，否则所有假名将改变",
      ]
    case .alarmFlood:
      [
        "en": "{gateway}: more than 10 alarms in 10 minutes: look for their common cause",
        "zh": "{gateway}：10 分钟内超过 10 条报警：请查找共同原因",
      ]
    case .pushFailing:
      [
        "en": "{gateway}: a platform is not reached, or refuses: `kerb status` says which and why",
        "zh": "{gateway}：某平台无法连接或拒绝接收：`kerb status` 给出平台和原因",
      ]
    }
  }
}
