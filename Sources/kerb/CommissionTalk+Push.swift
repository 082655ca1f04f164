// Platforms that the box sends to: their address, and the secret they know the box by, which goes into a file of its
// own and into no configuration.

import FieldBus
import Gateway
import Glibc
import StreamCore

extension CommissionTalk {
  mutating func pushes() throws {
    while true {
      let question = Phrase(
        "Name of a platform that the box sends to (Enter for no more)", "本机主动推送的平台名称（回车结束）")()
      let configuration = try commissioning.configuration(table)
      let taken = Set(configuration.pushes.map(\.name) + configuration.consumers.map(\.name))
      let name = try Dialogue.line(question) { text in
        if text.isEmpty { return nil }
        return taken.contains(text) ? Phrase("it is there already", "已存在")() : nameProblem(text)
      }
      if name.isEmpty { return }
      try push(name)
    }
  }

  private mutating func push(_ name: String) throws {
    let kinds = [("http://", "http"), ("https://", "http"), ("mqtt://", "mqtt"), ("mqtts://", "mqtt")]
    let url = try Dialogue.line(
      Phrase("Its address: https://…, or mqtts://… for a broker", "地址：https://…，消息代理用 mqtts://…")()
    ) { text in
      kinds.contains { text.hasPrefix($0.0) }
        ? nil : Phrase("it begins with https:// or mqtts://", "须以 https:// 或 mqtts:// 开头")()
    }
    var push = TomlTable(place: table.place)
    let kind = kinds.first { url.hasPrefix($0.0) }?.1 ?? "http"
    push.set("name", name)
    push.set("kind", kind)
    push.set("url", url)
    if kind == "http" {
      try secret(Phrase("Its token (not shown; Enter for none)", "令牌（不显示；回车表示没有）")(), "token_file", &push, name)
    } else {
      let user = try Dialogue.line(Phrase("User name at the broker (Enter for none)", "用户名（回车表示没有）")())
      if !user.isEmpty {
        push.set("username", user)
        try secret(Phrase("Its password (not shown)", "密码（不显示）")(), "password_file", &push, name)
      }
    }
    let before = table
    table.append(push, to: "push")
    do throws(CommandFailure) { _ = try commissioning.configuration(table) } catch {
      table = before
      show(error.text)
      show(Phrase("{0} is left out.", "{0} 未加入。")(name))
    }
  }

  private mutating func secret(_ question: String, _ key: String, _ push: inout TomlTable, _ name: String) throws {
    let typed = try Dialogue.secret(question)
    if typed.isEmpty { return }
    push.set(key, try commissioning.keep(secret: typed, name: name))
  }
}
