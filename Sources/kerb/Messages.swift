// What the tools say to people, in English and Chinese. Words of the JSON and of the configuration are not
// translated.

import Glibc

enum Language {
  case english, chinese

  /// The first of LC_ALL, LC_MESSAGES and LANG that is set.
  static let current: Language = {
    let name = environment("LC_ALL") ?? environment("LC_MESSAGES") ?? environment("LANG") ?? ""
    return name.hasPrefix("zh") ? .chinese : .english
  }()

  var code: String { self == .chinese ? "zh" : "en" }
}

enum Message {
  case wrongConfiguration, unreadable, noAgent, notPermitted, silentAgent, brokenAgent
  case good, busesHead, devicesLine, pointsLine, alarmsLine, bufferLine, bufferAgeLine, consumersHead, memoryLine
  case headLine
  case synchronised, unsynchronised, noConsumers, noAlarms, noPoints, noDevices, never, storeSilent, busTrouble
  case pointsHead, devicesHead, consumerListHead, active, inactive, all
  case consumerExists, consumerBadName, consumerAdded, consumerToken, consumerRestart, consumerTry, cannotWrite,
    noRandomness

  private var texts: (en: String, zh: String) {
    switch self {
    case .wrongConfiguration:
      return ("{0} mistakes in the configuration; nothing was changed", "配置有 {0} 处错误；未作任何更改")
    case .unreadable:
      return (
        "{0}: you may not read it; run this as root or as a member of group kerb", "{0}：无权读取；请用 root 或 kerb 组成员运行"
      )
    case .noAgent:
      return (
        "no agent answers at {0}; start it with `kerb run -c {1}` or `systemctl start kerb`, "
          + "or name its configuration with -c",
        "{0} 没有代理应答；请用 `kerb run -c {1}` 或 `systemctl start kerb` 启动，或用 -c 指定其配置"
      )
    case .notPermitted:
      return (
        "{0}: you may not ask the agent; run this as root or as a member of group kerb",
        "{0}：无权询问代理；请用 root 或 kerb 组成员运行"
      )
    case .silentAgent:
      return (
        "the agent at {0} did not answer within {1} s; try again, and look into its log",
        "{0} 的代理在 {1} 秒内未应答；请重试并查看其日志"
      )
    case .brokenAgent:
      return ("the agent's answer was cut off: {0}; try again", "代理的应答中断：{0}；请重试")
    case .good:
      return (
        "good: {0} buses, {1} devices, {2} points, {3} alarms, {4} consumers",
        "配置正确：{0} 条总线，{1} 台设备，{2} 个测点，{3} 条报警，{4} 个订阅方"
      )
    case .headLine: return ("{0}  kerb {1}  up {2}  epoch {3}  {4}", "{0}  kerb {1}  已运行 {2}  纪元 {3}  {4}")
    case .synchronised: return ("clock synchronised", "时钟已同步")
    case .unsynchronised: return ("clock not synchronised", "时钟未同步")
    case .busesHead: return ("BUS|STATE|LOAD|EFF|CYCLE|GOOD|TIMEOUT|CRC|EXC|LATE", "总线|状态|负载|效率|周期|成功|超时|校验|异常|迟到")
    case .busTrouble: return ("  {0}: {1}", "  {0}：{1}")
    case .devicesLine: return ("Devices  {0} online, {1} offline, {2} not heard yet", "设备  {0} 在线，{1} 离线，{2} 尚无应答")
    case .pointsLine:
      return ("Points   {0} good, {1} uncertain, {2} bad, {3} stale", "测点  {0} 正常，{1} 可疑，{2} 无效，{3} 过期")
    case .alarmsLine: return ("Alarms   {0} active, {1} unacknowledged", "报警  {0} 活动，{1} 未确认")
    case .bufferLine:
      return ("Buffer   {0}, {1} records, {2} of {3}", "缓存  {0}，{1} 条，{2} / {3}")
    case .bufferAgeLine: return ("         oldest {0}, evicted {1}", "      最早 {0}，已覆盖 {1}")
    case .storeSilent: return ("         the storage does not answer; these are old figures", "      存储没有应答；以上为旧数据")
    case .consumersHead: return ("CONSUMER|BEHIND|GAPS|LAST SEEN", "订阅方|落后|缺口|最近")
    case .noConsumers:
      return ("No consumers; `kerb consumer add NAME` lets one in", "没有订阅方；用 `kerb consumer add 名称` 添加")
    case .memoryLine:
      return (
        "Memory   {0} private, {1} resident, {2} of it planned; {3} threads", "内存  私有 {0}，常驻 {1}，计划 {2}；{3} 个线程"
      )
    case .pointsHead: return ("POINT|VALUE|UNIT|QUALITY|AGE", "测点|值|单位|质量|时间")
    case .devicesHead: return ("DEVICE|KIND|BUS|ADDR|STATE|SEEN|GOOD|FAILED", "设备|类型|总线|地址|状态|最近|成功|失败")
    case .consumerListHead: return ("CONSUMER|SEES|LANES|MIN SEVERITY|PERSONAL", "订阅方|范围|通道|最低级别|个人数据")
    case .noAlarms: return ("No alarms", "没有报警")
    case .noPoints: return ("No points", "没有测点")
    case .noDevices: return ("No devices", "没有设备")
    case .never: return ("never", "从未")
    case .active: return ("active", "活动")
    case .inactive: return ("over", "已恢复")
    case .all: return ("all", "全部")
    case .consumerExists:
      return (
        "there is a consumer {0} already, at {1}; choose another name, or remove that one",
        "订阅方 {0} 已存在（{1}）；请换名称，或先删除"
      )
    case .consumerBadName: return ("the name {0}", "名称 {0}")
    case .consumerAdded: return ("Consumer {0} added: {1}", "已添加订阅方 {0}：{1}")
    case .consumerToken:
      return ("Its token, shown only now (the box keeps nothing but its hash):", "令牌只显示这一次（本机只保存其哈希）：")
    case .consumerRestart:
      return ("Restart the agent to let it in: systemctl restart kerb", "重启代理后生效：systemctl restart kerb")
    case .consumerTry: return ("Then try: {0}", "然后试试：{0}")
    case .cannotWrite:
      return ("{0}: {1}; run this as root, or as the owner of the configuration", "{0}：{1}；请用 root 或配置所有者运行")
    case .noRandomness: return ("the system has no source of random numbers", "系统没有随机数来源")
    }
  }

  func text(in language: Language) -> String { language == .chinese ? texts.zh : texts.en }
}

enum Messages {
  /// `{0}`, `{1}`… filled in.
  static func text(_ message: Message, _ values: String..., language: Language = .current) -> String {
    var text = ""
    var rest = message.text(in: language)[...]
    while let open = rest.firstIndex(of: "{"), let close = rest[open...].firstIndex(of: "}") {
      text += rest[..<open]
      let index = Int(rest[rest.index(after: open)..<close]) ?? -1
      text += values.indices.contains(index) ? values[index] : ""
      rest = rest[rest.index(after: close)...]
    }
    return text + rest
  }

  static func columns(_ message: Message) -> [String] { text(message).split(separator: "|").map(String.init) }
}
