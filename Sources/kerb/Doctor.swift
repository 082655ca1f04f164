// What is wrong with a box, and what to do about it: facts in, findings out. Pure, so that every illness can be tested
// without having it.

import Gateway

struct Finding: Equatable {
  enum Level: String {
    case good, note, wrong
  }

  var level: Level
  /// A word that stays the same in every language and version: for scripts.
  var code: String
  /// What it is about: a bus, a consumer, a file.
  var subject: String
  var text: Phrase
  /// The next step; nil where all is well.
  var step: Phrase?
  var values: [String] = []

  func text(in language: Language) -> String { text.text(values, in: language) }
  /// What it is about is named once.
  func line(in language: Language) -> String {
    let text = text(in: language)
    return text.hasPrefix(subject) ? text : "\(subject): \(text)"
  }

  func step(in language: Language) -> String? { step?.text(values, in: language) }
}

struct Doctor {
  private let facts: DoctorFacts
  private(set) var findings: [Finding] = []

  init(_ facts: DoctorFacts) {
    self.facts = facts
    lookAtConfiguration()
    lookAtAgent()
    lookAtClock()
    lookAtPorts()
    lookAtTroubles()
    if facts.agent == .running {
      lookAtBuses()
      lookAtBuffer()
      lookAtConsumers()
      lookAtAlarms()
    }
    lookAtState()
    lookAtCertificate()
  }

  var isWell: Bool { !findings.contains { $0.level == .wrong } }

  private mutating func add(
    _ level: Finding.Level, _ code: String, _ subject: String, _ text: Phrase, _ step: Phrase? = nil,
    _ values: [String] = []
  ) {
    findings.append(Finding(level: level, code: code, subject: subject, text: text, step: step, values: values))
  }

  // MARK: The box itself

  private mutating func lookAtConfiguration() {
    let path = facts.configurationPath
    if !facts.isReadable {
      add(
        .note, "configuration-unreadable", path, Phrase("you may not read it", "无权读取"),
        Phrase("run this as root or as a member of group kerb", "请用 root 或 kerb 组成员运行"))
    } else if let first = facts.mistakes.first {
      add(
        .wrong, "configuration-wrong", path, Phrase("{0} mistakes; the first: {1}", "{0} 处错误；第一处：{1}"),
        Phrase("`kerb check` lists all of them", "`kerb check` 列出全部错误"), ["\(facts.mistakes.count)", first])
    } else {
      add(
        .good, "configuration", path, Phrase("{0} buses, {1} devices, {2} consumers", "{0} 条总线，{1} 台设备，{2} 个平台"),
        nil, ["\(facts.buses)", "\(facts.devices)", "\(facts.consumers)"])
      if facts.consumers == 0 {
        add(
          .note, "no-consumer", path, Phrase("no platform may pull, and none is pushed to", "没有平台可拉取数据，也未推送到任何平台"),
          Phrase("`kerb consumer add NAME` makes a token", "用 `kerb consumer add 名称` 生成令牌"))
      }
    }
  }

  private mutating func lookAtAgent() {
    switch facts.agent {
    case .running:
      let status = facts.status
      add(
        .good, "agent", "kerb \(status["version"]?.string ?? "")", Phrase("has run for {0}", "已运行 {0}"), nil,
        [Shown.span(seconds: status["uptime_s"]?.double ?? 0)])
    case .none:
      add(
        .wrong, "agent-not-running", "kerb", Phrase("no agent runs", "代理未运行"),
        Phrase(
          "`systemctl start kerb`, then `journalctl -u kerb -n 50` says why if it does not stay",
          "`systemctl start kerb`；若未能保持运行，`journalctl -u kerb -n 50` 会说明原因"))
    case .silent:
      add(
        .wrong, "agent-silent", "kerb", Phrase("the agent is there, but does not answer", "代理存在但无应答"),
        Phrase(
          "`journalctl -u kerb -n 50`, then `systemctl restart kerb`",
          "先看 `journalctl -u kerb -n 50`，再 `systemctl restart kerb`"))
    case .forbidden:
      add(
        .note, "agent-forbidden", "kerb", Phrase("you may not ask the agent", "无权询问代理"),
        Phrase("run this as root or as a member of group kerb", "请用 root 或 kerb 组成员运行"))
    }
  }

  private mutating func lookAtClock() {
    if facts.unixSeconds < Self.plausibleUnix {
      add(
        .wrong, "clock-wrong", Self.clock, Phrase("the clock stands before 2024", "系统时间早于 2024 年"),
        Phrase(
          "connect a network with a time server, or set it: date -s; records are dated afterwards",
          "请接入有时间服务器的网络，或用 date -s 设置；记录会随后补上时间"))
    } else if facts.isClockSynchronised, let alarm = standing("clock-wrong") {
      let said = alarm["message"]
      add(
        .wrong, "clock-wrong", Self.clock, Phrase("{0}", "{1}"),
        Phrase(
          "compare `date` with a watch and set it (date -s); with `clock = \"trusted\"` the agent takes it as it is",
          "请核对 `date` 并校时（date -s）；若配置了 `clock = \"trusted\"`，代理会直接采信该时钟"),
        [said?["en"]?.string ?? "clock-wrong", said?["zh"]?.string ?? said?["en"]?.string ?? "clock-wrong"])
    } else if facts.isClockSynchronised {
      add(.good, "clock", Self.clock, Phrase("synchronised", "已同步"))
    } else {
      add(
        .note, "clock-unsynchronised", Self.clock,
        Phrase(
          "nothing keeps it right; records go out without a time until it is known",
          "没有时间源；在时间确定之前，记录不带时间"),
        Phrase("`timedatectl status`; is a time server reachable?", "`timedatectl status`；时间服务器可达吗？"))
    }
  }

  /// An alarm of the box itself that stands now.
  private func standing(_ name: String) -> JSONValue? {
    facts.alarms.first { $0["active"]?.bool == true && $0["n"]?.string?.hasSuffix("/\(name)") == true }
  }

  private mutating func lookAtState() {
    guard facts.stateExists else {
      return add(
        .wrong, "state-missing", facts.statePath, Phrase("the state folder is not there", "状态目录不存在"),
        Phrase("make it and give it to the agent's user; the package does", "请创建并交给代理用户；安装包会自动创建"))
    }
    if let refusal = facts.stateRefusal {
      add(.wrong, "state-refused", facts.statePath, refusal)
    }
    if let mode = facts.keyMode, mode & 0o077 != 0 {
      add(
        .wrong, "key-open", "\(facts.statePath)/box.key",
        Phrase("others can read the box's key; the agent waits and reads nothing", "其他用户可读取本机密钥；代理将等待，不采集数据"),
        Phrase("chmod 600 {0}/box.key", "chmod 600 {0}/box.key"), [facts.statePath])
    }
    guard let free = facts.freeBytes else { return }
    if free < facts.wantedBytes {
      add(
        .wrong, "disk-full", facts.statePath,
        Phrase("{0} free, and the buffer still wants {1}", "剩余 {0}，而缓冲区还需 {1}"),
        Phrase(
          "free some, or make `telemetry` under [buffer] smaller; alarms have their room already",
          "请清理空间，或减小 [buffer] 的 `telemetry`；报警已预留空间"),
        [Shown.bytes(free), Shown.bytes(facts.wantedBytes)])
    } else {
      add(.good, "disk", facts.statePath, Phrase("{0} free", "剩余 {0}"), nil, [Shown.bytes(free)])
    }
  }

  private mutating func lookAtCertificate() {
    guard let expires = facts.certificateExpires else { return }
    let left = expires - facts.unixSeconds
    let date = [Shown.time(unix: Double(expires))]
    if left <= 0 {
      add(
        .wrong, "certificate-expired", Self.certificate, Phrase("expired at {0}", "已于 {0} 过期"),
        Phrase(
          "renew it and put the new files in the place of the old: they are taken without a restart",
          "请续期并替换原文件：无需重启即生效"), date)
    } else if left < 30 * 86_400 {
      add(
        .note, "certificate-expires", Self.certificate, Phrase("expires at {0}", "将于 {0} 过期"),
        Phrase("renew it in time", "请及时续期"), date)
    } else {
      add(.good, "certificate", Self.certificate, Phrase("valid until {0}", "有效期至 {0}"), nil, date)
    }
  }

  // MARK: Lines and devices

  private mutating func lookAtPorts() {
    for port in facts.ports {
      let values = [port.path, port.strangers.joined(separator: ", ")]
      if let missing = port.missing {
        add(
          .wrong, "port-missing", port.bus, Phrase("{0}", "{1}"),
          Phrase("`kerb ports` lists what is there", "`kerb ports` 列出现有端口"), [missing.en, missing.zh])
      } else if !port.isSerial {
        add(
          .wrong, "port-foreign", port.bus, Phrase("{0} is no serial port", "{0} 不是串口"),
          Phrase("`kerb ports` lists those that are there", "`kerb ports` 列出现有串口"), values)
      } else if !port.strangers.isEmpty {
        add(
          .wrong, "port-taken", port.bus, Phrase("{0} is in use: {1}", "{0} 正被占用：{1}"),
          Phrase("end that program: two masters on one line break each other's frames", "请结束该程序：一条线上的两个主站会互相破坏"),
          values)
      } else if !port.mayOpen {
        add(
          .note, "port-forbidden", port.bus, Phrase("you may not open {0}", "无权打开 {0}"),
          Phrase("the agent's user must be in the port's group; `ls -l {0}`", "代理用户须在该端口的组内；`ls -l {0}`"), values)
      }
      if port.isNumbered {
        add(
          .note, "port-numbered", port.bus,
          Phrase("{0} can be another adapter after the next boot", "下次启动后 {0} 可能是另一个适配器"),
          Phrase("use its stable path from `kerb ports`, or /dev/kerb/…", "请使用 `kerb ports` 的固定路径或 /dev/kerb/…"),
          values)
      }
    }
  }

  /// Those that have no finding of their own here.
  private mutating func lookAtTroubles() {
    let own = [Trouble.portMissing, Trouble.portLost, "state-full", "state-read-only", "state-failing"]
    for trouble in facts.troubles where !own.contains(trouble.code) {
      add(.wrong, trouble.code, trouble.subject, Phrase("{0}", "{1}"), nil, [trouble.text, trouble.chineseText])
    }
  }

  private mutating func lookAtBuses() {
    for bus in facts.status["buses"]?.array ?? [] {
      let name = bus["name"]?.string ?? ""
      guard let verdict = bus["verdict"], let code = verdict["code"]?.string, code != "fine" else {
        add(
          .good, "bus", name, Phrase("{0} good answers, {1} used", "{0} 次正常应答，占用 {1}"), nil,
          [Shown.integer(bus["good"]), Shown.percent(bus["utilisation"]?.double ?? 0)])
        continue
      }
      // The verdict names its own remedy.
      let isNote = code == "echo" || code == "stretched"
      add(
        isNote ? .note : .wrong, "bus-\(code)", name,
        Phrase(verdict["en"]?.string ?? "", verdict["zh"]?.string ?? ""),
        Phrase("`kerb monitor {0}` shows the frames as they pass", "`kerb monitor {0}` 显示实时报文"), [name])
    }
  }

  // MARK: Buffer, platforms, alarms

  private mutating func lookAtBuffer() {
    let state = facts.buffer["state"]?.string ?? facts.status["buffer"]?["state"]?.string ?? "good"
    if state != "good", facts.troubles.contains(where: { $0.code == "state-unusable" }) {
      // It stands among the troubles: there is no buffer beside it.
    } else if state != "good", let trouble = facts.troubles.first(where: { $0.code.hasPrefix("state-") }) {
      add(.wrong, "buffer-\(state)", Self.buffer, Phrase("{0}", "{1}"), nil, [trouble.text, trouble.chineseText])
    } else if state != "good" {
      add(
        .wrong, "buffer-\(state)", Self.buffer, Phrase("the storage is in trouble: {0} {1}", "存储异常：{0} {1}"),
        Phrase(
          "is the disk full, read-only or worn out? `kerb buffer verify` reads all of it; see `dmesg`, too",
          "磁盘已满、只读或老化？`kerb buffer verify` 通读数据；`dmesg` 有内核信息"),
        [state, facts.buffer["last_failure"]?.string ?? ""])
    } else {
      add(
        .good, "buffer", Self.buffer, Phrase("{0} samples, {1} of {2}", "{0} 个采样，{1} / {2}"), nil,
        [
          Shown.integer(facts.status["buffer"]?["samples"]),
          Shown.bytes(facts.status["buffer"]?["bytes"]?.integer ?? 0),
          Shown.bytes(facts.status["buffer"]?["capacity_bytes"]?.integer ?? 0),
        ])
    }
    let lost = facts.status["buffer"]?["lost"]?.integer ?? 0
    if lost > 0 {
      add(
        .wrong, "samples-lost", Self.buffer,
        Phrase("{0} samples were lost before they reached the disk, and reported as gaps", "{0} 个采样未及落盘即丢失，已作为缺口上报"),
        Phrase("the disk was too slow or failed: `kerb buffer` says more", "磁盘过慢或故障：`kerb buffer` 有详情"), ["\(lost)"])
    }
    if let used = facts.buffer["flash"]?["life_used_percent_max"]?.integer, used >= 80 {
      add(
        .note, "flash-worn", Self.buffer, Phrase("up to {0}% of the flash's life is used", "闪存寿命已用至多 {0}%"),
        Phrase("plan to exchange it; `kerb buffer backup` copies what is stored", "请计划更换；`kerb buffer backup` 可备份"),
        ["\(used)"])
    }
  }

  private mutating func lookAtConsumers() {
    for consumer in facts.status["consumers"]?.array ?? [] {
      let name = consumer["name"]?.string ?? ""
      if let push = consumer["push"] {
        look(atPush: push, of: name)
        continue
      }
      let age = consumer["last_seen_age_s"]?.double
      let isAway = age ?? .infinity > Self.longSeconds
      if let answers = consumer["unacknowledged_answers"]?.integer, answers > 0, isAway {
        // A first request, or a try, has none.
        add(
          answers >= Self.manyAnswers ? .wrong : .note, "consumer-unacknowledged", name,
          Phrase(
            "asks, and never acknowledges what it got ({0} answers): it gets the same again each time",
            "在请求数据，但从不确认（已应答 {0} 次）：每次得到的都是同样的数据"),
          Phrase(
            "the platform must send the `next` of the answer that it has stored as `after` of its next request",
            "平台须把已保存应答中的 `next` 作为下次请求的 `after` 发送"), ["\(answers)"])
        continue
      }
      guard let age else {
        add(
          .note, "consumer-never", name, Phrase("has taken nothing since the agent was started", "自网关程序启动以来未取过数据"),
          Phrase(
            "does the platform have its token and the box's address? Alarms and samples wait for it",
            "平台是否有令牌和本机地址？报警和采样仍在等待"))
        continue
      }
      let lag = consumer["lag_records"]?.integer ?? 0
      if age > Self.longSeconds {
        add(
          .wrong, "consumer-away", name, Phrase("was here {0} ago; {1} records wait", "{0} 前来过；{1} 条记录在等待"),
          Phrase(
            "is the network up, and the platform? What the ring overwrites becomes a gap", "网络和平台正常吗？被覆盖的数据会成为缺口"),
          [Shown.span(seconds: age), "\(lag)"])
      } else {
        add(
          .good, "consumer", name, Phrase("was here {0} ago; {1} records wait", "{0} 前来过；{1} 条记录在等待"), nil,
          [Shown.span(seconds: age), "\(lag)"])
      }
    }
  }

  private mutating func look(atPush push: JSONValue, of name: String) {
    let says = (english: push["says"]?["en"]?.string ?? "", chinese: push["says"]?["zh"]?.string ?? "")
    if push["failing"]?.bool != true, push["nobody_listens"]?.bool == true {
      return add(
        .wrong, "push-unheard", name, Phrase("{0}", "{1}"),
        Phrase(
          "at the broker: bind a durable queue to the topic, or let the platform subscribe; what came before is gone",
          "请在代理上为该主题绑定持久队列，或让平台订阅；此前的数据在代理处已丢失"), [says.english, says.chinese])
    }
    guard push["failing"]?.bool == true else {
      return add(.good, "push", name, Phrase("{0}", "{1}"), nil, [says.english, says.chinese])
    }
    add(
      .wrong, "push-failing", name, Phrase("{0}", "{1}"),
      push["needs_person"]?.bool == true
        ? Phrase(
          "set it right here under [[push]] and `kerb reload`, or at the platform; nothing is thrown away meanwhile",
          "请修改此处的 [[push]] 并执行 `kerb reload`，或在平台侧修正；在此期间不丢弃任何数据")
        : Phrase(
          "is the network up, and the platform? What the ring overwrites becomes a gap", "网络和平台正常吗？被覆盖的数据会成为缺口"),
      [says.english, says.chinese])
  }

  private mutating func lookAtAlarms() {
    let calling = facts.alarms.count
    guard calling > 0 else { return add(.good, "alarms", Self.alarmsName, Phrase("none", "无")) }
    let names = facts.alarms.prefix(3).compactMap { $0["n"]?.string }.joined(separator: ", ")
    add(
      .note, "alarms-standing", Self.alarmsName, Phrase("{0} stand: {1}", "{0} 个报警：{1}"),
      Phrase("`kerb alarms`; `kerb ack` says that somebody knows", "`kerb alarms`；用 `kerb ack` 确认"),
      ["\(calling)", names])
  }

  private static let clock = "clock"
  private static let buffer = "buffer"
  private static let certificate = "certificate"
  private static let alarmsName = "alarms"
  /// 2024-01-01.
  private static let plausibleUnix: Int64 = 1_704_067_200
  /// A platform that has not come for so long has forgotten this box, or can't reach it.
  private static let longSeconds = 3_600.0
  /// More than somebody's tries.
  private static let manyAnswers: Int64 = 10
}
