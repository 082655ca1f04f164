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
  case headLine, pushLine
  case synchronised, unsynchronised, noConsumers, noAlarms, noPoints, noDevices, never, storeSilent, busTrouble
  case pointsHead, devicesHead, learnedHead, consumerListHead, active, inactive, all, allowed
  case consumerExists, consumerBadName, consumerAdded, consumerToken, consumerRestart, consumerTry, cannotWrite,
    noRandomness
  case forgotten, forgottenPlan, stateHeld
  case keyNeedsYes, keyRotated, consumerOtherPseudonyms
  case consumerInForce, consumerRemoved, consumerRotated, consumerUnknown, consumerElsewhere
  case reloaded, reloadApplied, reloadRestart, reloadNothing
  case bufferHeld, bufferSpace, bufferGone, bufferAtRest, bufferVerified, bufferDamaged, bufferCopied, bufferRestored
  case bufferGoneMore, goneNothing, goneEvicted, goneThinned, goneOverflow, goneUnsaved, goneDamaged, goneRetention
  case readersHead, flashDays, flashYears
  case flashWritten, flashRate, flashLife, exportForm, exportTime, exportMissing, exportUntimed, exportMono
  case listeningBus, portBusy, portForbidden, portMissing, noReply, corruptReply, refusedReply, lineLost, notServed,
    lineBusy
  case lineOpened, lineClosed, silentUnit, strayBytes, brokenFrame, maskedFrame, notListened, listening, framesMissed
  case noPorts, portsHead, badAddresses, badTimeout, badBaud, liveSettings, nothingFound, scanHead, scanWritten
  case scanStarts, scanStartsLive, scanProgress
  case personalReply, onlyRead, refusedItem, notSearched, notMeters, crowded, meterScanStarts, meterScanStartsLive,
    badItem,
    metersHaveItems
  case shelvedUntil, shelvedFor, alarmChanged, alarmWasSo, badShelf
  case notAskable, computedPoint, personalPoint, notWritable, badValue, badRange, pointWritten, writeNeedsYes
  case writeAsks, writeLeft

  private var texts: (en: String, zh: String) {
    switch self {
    case .wrongConfiguration:
      return ("mistakes in the configuration: {0}; nothing was changed", "配置有 {0} 处错误；未作任何更改")
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
    case .pushLine: return ("Push {0}: {1}", "推送 {0}：{1}")
    case .noConsumers:
      return ("No consumers; `kerb consumer add NAME` lets one in", "没有订阅方；用 `kerb consumer add 名称` 添加")
    case .memoryLine:
      return (
        "Memory   {0} private, {1} resident, {2} of it planned; {3} threads", "内存  私有 {0}，常驻 {1}，计划 {2}；{3} 个线程"
      )
    case .pointsHead: return ("POINT|VALUE|UNIT|QUALITY|AGE", "测点|值|单位|质量|时间")
    case .devicesHead:
      return ("DEVICE|KIND|BUS|ADDR|STATE|SEEN|GOOD|FAILED", "设备|类型|总线|地址|状态|最近|成功|失败")
    case .learnedHead: return ("LEARNED OF|THINKS|WAITS|REFUSES|SILENCE", "已学到|应答|等待|拒绝|静默")
    case .consumerListHead:
      return ("CONSUMER|SEES|LANES|MIN SEVERITY|PERSONAL|COMMANDS", "订阅方|范围|通道|最低级别|个人数据|命令")
    case .allowed: return ("allowed", "允许")
    case .shelvedUntil: return ("until {0}", "至 {0}")
    case .shelvedFor: return ("for another {0}", "还有 {0}")
    case .alarmChanged: return ("{0} is {1} now", "{0} 现为 {1}")
    case .alarmWasSo: return ("{0} is {1} already: nothing changed", "{0} 已为 {1}：未作更改")
    case .badShelf:
      return ("{0} is no time for a shelf: write for example 30m or 2h, up to 7d", "{0} 不是搁置时间：例如 30m 或 2h，最长 7d")
    case .noAlarms: return ("No alarms", "没有报警")
    case .noPoints: return ("No points", "没有测点")
    case .noDevices: return ("No devices", "没有设备")
    case .forgotten: return ("{0}: what was learned of it is forgotten", "{0}：已清除学到的参数")
    case .forgottenPlan:
      return (
        "{0}: until the next start of the agent the plan keeps clear of what it once refused",
        "{0}：代理下次启动前，轮询计划仍避开其曾拒绝的寄存器"
      )
    case .stateHeld:
      return (
        "{0} is held by an agent that does not answer here; ask it with -c its configuration",
        "{0} 正被另一代理占用；请用 -c 指定其配置"
      )
    case .never: return ("not yet", "尚未")
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
      return ("The token of {0}, shown only now (the box keeps nothing but its hash):", "{0} 的令牌只显示这一次（本机只保存其哈希）：")
    case .consumerRestart:
      return (
        "No running agent took it over; it is in force after: kerb reload, or: systemctl restart kerb",
        "没有运行中的代理接受此更改；执行 kerb reload 或 systemctl restart kerb 后生效"
      )
    case .consumerInForce: return ("The running agent has taken it over.", "运行中的代理已生效。")
    case .consumerRemoved: return ("Consumer {0} removed: {1}", "已删除订阅方 {0}：{1}")
    case .consumerRotated: return ("Consumer {0} has another token: {1}", "订阅方 {0} 已更换令牌：{1}")
    case .keyNeedsYes:
      return (
        "another key in {0} can't be undone: what was recorded before can't be joined with what comes after; add --yes",
        "更换 {0} 中的密钥不可撤销：此前与此后的记录将无法关联；请加 --yes"
      )
    case .keyRotated:
      return ("{0} has another key for pseudonyms; restart the agent", "{0} 已更换假名密钥；请重启代理")
    case .consumerOtherPseudonyms:
      return ("Consumer {0} gets other pseudonyms: {1}", "订阅方 {0} 将得到新的假名：{1}")
    case .consumerUnknown:
      return (
        "there is no consumer {0}{1}; `kerb consumer list` lists them", "没有订阅方 {0}{1}；`kerb consumer list` 可列出"
      )
    case .consumerElsewhere:
      return (
        "consumer {0} stands among other things in {1}: change it there, then: kerb reload",
        "订阅方 {0} 与其他内容同在 {1}：请在该处修改，然后执行 kerb reload"
      )
    case .reloaded: return ("The configuration was read anew.", "已重新读取配置。")
    case .reloadApplied: return ("  in force: {0}", "  已生效：{0}")
    case .reloadRestart:
      return (
        "  changed, and in force after a restart (systemctl restart kerb): {0}",
        "  已更改，重启后生效（systemctl restart kerb）：{0}"
      )
    case .reloadNothing: return ("  nothing was changed", "  没有更改")
    case .consumerTry: return ("Then try: {0}", "然后试试：{0}")
    case .cannotWrite:
      return ("{0}: {1}; {2}", "{0}：{1}；{2}")
    case .badAddresses: return ("addresses run from {0} to {1}, --from before --to", "地址范围 {0} 到 {1}，--from 不大于 --to")
    case .badTimeout:
      return ("{0} is no time: write for example 150ms, from 10ms to 10s", "{0} 不是时间：例如 150ms，范围 10ms 到 10s")
    case .badBaud: return ("{0} baud is not supported: allowed are {1}", "不支持波特率 {0}：允许 {1}")
    case .liveSettings:
      return (
        "bus {0} is polled at its own settings; stop the agent to scan at others, or leave --baud and --parity out",
        "总线 {0} 正以现有参数轮询；要用其他参数扫描请先停止代理，或去掉 --baud 和 --parity"
      )
    case .nothingFound:
      return (
        "nobody answers on bus {0}: power, A and B, or the devices are slower than --timeout",
        "总线 {0} 上无人应答：请检查供电、A/B 线，或加大 --timeout"
      )
    case .scanHead: return ("ADDR|LINE|DEVICE|SAYS|PROFILES THAT FIT", "地址|线路|设备|自述|匹配的配置")
    case .scanWritten: return ("{0} devices added to {1}", "已将 {0} 台设备写入 {1}")
    case .scanStarts:
      return (
        "scanning bus {0}: {1} settings, {2} addresses each, {3} if nobody answers",
        "扫描总线 {0}：{1} 种参数，各 {2} 个地址，若无应答约 {3}"
      )
    case .scanStartsLive:
      return (
        "scanning bus {0} in the gaps of its polls: {2} addresses, {3} of silence if nobody answers, "
          + "more where gaps are few",
        "在轮询间隙扫描总线 {0}：{2} 个地址，若无应答约 {3}，间隙少时更久"
      )
    case .scanProgress: return ("{0}  {1}  {2} found  {3}", "{0}  {1}  找到 {2} 台  {3}")
    case .noPorts: return ("No serial ports", "没有串口")
    case .portsHead: return ("PORT|BUS|DRIVER|HELD BY|WHAT", "端口|总线|驱动|占用者|设备")
    case .lineOpened: return ("line opened", "线路已打开")
    case .lineClosed: return ("line lost", "线路已断开")
    case .silentUnit: return ("no reply", "没有应答")
    case .strayBytes: return ("{0} bytes unasked: {1}", "{0} 个未请求的字节：{1}")
    case .brokenFrame: return ("broken ({0}): {1}", "损坏（{0}）：{1}")
    case .maskedFrame: return ("(personal, not shown)", "（个人数据，不显示）")
    case .notListened:
      return (
        "no agent runs, and bus {0} is no serial Modbus line that could be listened to",
        "没有代理运行，且总线 {0} 不是可监听的串行 Modbus 线路"
      )
    case .listening:
      return ("no agent runs: listening on {1} to what others say on bus {0}", "没有代理运行：在 {1} 上监听总线 {0}")
    case .framesMissed: return ("{0} frames passed too fast and are not shown", "有 {0} 帧过快，未显示")
    case .bufferHeld:
      return ("Held     {0} samples and {1} alarm events, since {2}", "存有     {0} 个采样、{1} 条报警事件，最早 {2}")
    case .bufferSpace:
      return ("Space    {0}, {1} of {2} in use, {3} samples not yet on disk", "空间     {0}，已用 {1} / {2}，{3} 个采样尚未写盘")
    case .bufferGone: return ("Gone     {0} samples {1}", "丢失     {0} 个采样{1}")
    case .bufferGoneMore: return ("         {0} {1}", "         {0} 个{1}")
    case .goneNothing: return ("Gone     nothing", "丢失     无")
    case .goneEvicted: return ("made room for newer ones", "为新数据让位")
    case .goneThinned: return ("were thinned", "被抽稀")
    case .goneOverflow: return ("found no room while the disk took none", "因磁盘不接收而无处存放")
    case .goneUnsaved: return ("could not be saved at a stop", "停止时未能保存")
    case .goneDamaged: return ("were damaged", "已损坏")
    case .goneRetention: return ("were personal and too old", "为到期的个人数据")
    case .readersHead: return ("CONSUMER|BEHIND|GAPS|LAST SEEN|OLDEST UNREAD", "订阅方|落后|缺口|最近|最早未读")
    case .bufferAtRest: return ("No agent runs: read from its files", "没有代理运行：直接读取其文件")
    case .bufferVerified:
      return ("{0} blocks with {1} samples and {2} alarm events are whole", "{0} 个数据块（{1} 个采样）和 {2} 条报警事件完好")
    case .bufferDamaged:
      return (
        "{0} blocks and {1} alarm events are damaged; platforms are told so as a gap. If this grows, the storage "
          + "medium is failing: replace it",
        "{0} 个数据块和 {1} 条报警事件损坏；平台会收到缺口说明。若继续增多，说明存储介质将坏：请更换"
      )
    case .bufferCopied: return ("{0} copied to {1}", "已复制 {0} 到 {1}")
    case .bufferRestored:
      return (
        "{0} samples and {1} alarm events restored; what was there is in quarantine. Start the agent; platforms begin "
          + "without `after`", "已恢复 {0} 个采样和 {1} 条报警事件；原有数据移至 quarantine。请启动代理；平台需不带 `after` 重新开始"
      )
    case .flashWritten: return ("Flash    {0} written since the start", "闪存     启动以来写入 {0}")
    case .flashRate:
      return ("Flash    {0} written since the start, {1} a day at this rate", "闪存     启动以来写入 {0}，按此速度每天 {1}")
    case .flashDays: return ("         {0} today, {1} in {2} days", "         今天 {0}，{2} 天共 {1}")
    case .flashYears:
      return (
        "         new flash of {1} TB endurance lasts {0} years at this rate", "         按此速度，{1} TB 的新闪存可用 {0} 年"
      )
    case .flashLife: return ("         up to {0}% of its life is used, says the eMMC", "         eMMC 报告寿命已用至多 {0}%")
    case .exportForm: return ("choose one of --csv and --senml", "请在 --csv 和 --senml 中选择一个")
    case .exportTime:
      return (
        "\"{0}\" is no time: write 90m, 2h or 7d, or a UTC time such as 2026-01-31 or 2026-01-31T06:00",
        "“{0}”不是时间：请写 90m、2h、7d，或 UTC 时间如 2026-01-31、2026-01-31T06:00"
      )
    case .exportMissing:
      return ("{0} samples of this time are missing: `kerb buffer` says why", "此时段缺少 {0} 个采样：原因见 `kerb buffer`")
    case .exportUntimed:
      return (
        "{0} records have no time, for the box did not know it: `mono` is seconds since the box was started",
        "{0} 条记录没有时间，因为盒子当时不知道时间：`mono` 是盒子启动以来的秒数"
      )
    case .exportMono: return ("the box has now been on for {0} s", "盒子至今已启动 {0} 秒")
    case .listeningBus:
      return ("nothing can be asked on bus {0}: its device speaks when it likes", "总线 {0} 只收听设备主动发送的数据，无法询问")
    case .portBusy:
      return (
        "{0} is in use: {1}; end that first, or ask through the agent that has it (-c its configuration)",
        "{0} 正被占用：{1}；请先结束它，或用 -c 指定其代理的配置"
      )
    case .portForbidden:
      return (
        "{0}: you may not open it; run this as root or as a member of group dialout",
        "{0}：无权打开；请用 root 或 dialout 组成员运行"
      )
    case .portMissing:
      return ("{0}: {1}; is it plugged in? `kerb ports` lists what is there", "{0}：{1}；是否已插好？`kerb ports` 列出现有端口")
    case .noReply:
      return (
        "{0}: no reply; is the device powered, the address right, A and B not swapped?",
        "{0}：没有应答；设备是否通电？地址是否正确？A、B 线是否接反？"
      )
    case .corruptReply:
      return (
        "{0}: what came back is no whole reply: noise, or missing termination; try again", "{0}：应答不完整：可能有干扰或缺终端电阻；请重试"
      )
    case .refusedReply: return ("{0}: the device refused: exception {1}, {2}", "{0}：设备拒绝：异常码 {1}（{2}）")
    case .lineLost: return ("{0}: the line is lost; `kerb status` says why", "{0}：线路已断开；原因见 `kerb status`")
    case .notServed: return ("{0}: nobody serves the bus now; try again", "{0}：该总线暂时无人服务；请重试")
    case .lineBusy: return ("{0}: the bus is busy; try again", "{0}：总线忙；请重试")
    case .computedPoint:
      return (
        "{0}: it is computed from other points, there is nothing to ask for; `kerb points` shows it",
        "{0}：由其他测点计算得出，无可询问；用 `kerb points` 查看"
      )
    case .notAskable: return ("{0}: it can't be asked: the device speaks when it likes", "{0}：无法询问：设备主动发送数据")
    case .personalPoint: return ("{0} is personal: it is read for nobody", "{0} 是个人数据：不向任何人读取")
    case .personalReply:
      return (
        "{0} comes in one reply with {1}, which is personal: it is read for nobody", "{0} 与个人数据 {1} 在同一应答中：不向任何人读取"
      )
    case .onlyRead:
      return (
        "{0} can't be written: on lines of meters and of frames Kerb only reads", "{0} 不可写：在表计和帧协议线路上 Kerb 只读取"
      )
    case .refusedItem: return ("{0}: the device refused: error {1}, {2}", "{0}：设备拒绝：错误码 {1}（{2}）")
    case .notSearched:
      return (
        "bus {0} can't be searched: its devices are described by profiles, and no question is understood by all; "
          + "enter them by hand and try `kerb read`",
        "总线 {0} 无法搜索：其设备由配置文件描述，没有通用的询问；请手工填写设备，再用 `kerb read` 试读"
      )
    case .notMeters:
      return (
        "meters on bus {0} are found by their own answers, not by numbers: leave --from and --to out",
        "总线 {0} 上的表计靠其自身应答查找，不按编号：请去掉 --from 和 --to"
      )
    case .crowded:
      return (
        "bus {0}: more meters answer at once than can be told apart; read the others' addresses off their plates, "
          + "or connect one at a time",
        "总线 {0}：同时应答的表计多于可区分的数量；请从铭牌抄录其余地址，或逐台接入"
      )
    case .meterScanStarts:
      return (
        "searching bus {0} for meters: {1} settings, {2} if nobody answers; several meters on one line take minutes",
        "在总线 {0} 上搜索表计：{1} 种参数，若无应答约 {2}；一线多表需数分钟"
      )
    case .meterScanStartsLive:
      return (
        "searching bus {0} for meters in the gaps of its polls: {2} if nobody answers; several take minutes",
        "在轮询间隙于总线 {0} 上搜索表计：若无应答约 {2}；一线多表需数分钟"
      )
    case .badItem:
      return (
        "{0}: say it as: kerb raw {1} ADDRESS di IDENTIFIER, with the meter's {2} digits and {3} hexadecimal digits",
        "{0}：写法：kerb raw {1} 地址 di 标识，地址为表号 {2} 位数字，标识为 {3} 位十六进制数"
      )
    case .metersHaveItems:
      return (
        "bus {0}: there are no registers, and a profile describes its frames; use `kerb read DEVICE POINT`",
        "总线 {0}：没有寄存器，其帧由配置文件描述；请用 `kerb read 设备 测点`"
      )
    case .notWritable:
      return (
        "{0} can't be written: its profile does not say write = \"maintenance\" or \"upstream\"",
        "{0} 不可写：其配置文件未声明 write = \"maintenance\" 或 \"upstream\""
      )
    case .badValue: return ("{0} takes {1}", "{0} 可接受：{1}")
    case .badRange:
      return (
        "addresses run from 0 to {0}, units from 0 to 255, and a count is 1 or more",
        "地址范围 0 到 {0}，单元 0 到 255，数量至少为 1"
      )
    case .pointWritten: return ("{0} was {1}, is {2} now", "{0} 原为 {1}，现为 {2}")
    case .writeNeedsYes:
      return ("nobody can be asked here; add --yes to write without a question", "此处无法询问；加 --yes 直接写入")
    case .writeAsks: return ("{0} is {1}. Write {2}? [y/N] ", "{0} 现为 {1}。写入 {2}？[y/N] ")
    case .writeLeft: return ("nothing was written", "未写入")
    case .noRandomness: return ("the system has no source of random numbers", "系统没有随机数来源")
    }
  }

  func text(in language: Language) -> String { language == .chinese ? texts.zh : texts.en }
}

enum Messages {
  /// `{0}`, `{1}`… filled in.
  static func text(_ message: Message, _ values: String..., language: Language = .current) -> String {
    filled(message.text(in: language), values)
  }

  /// The heads of a table's columns.
  static func heads(_ english: String, _ chinese: String) -> [String] {
    (Language.current == .chinese ? chinese : english).split(separator: "|").map(String.init)
  }

  static func filled(_ template: String, _ values: [String]) -> String {
    var text = ""
    var rest = template[...]
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
