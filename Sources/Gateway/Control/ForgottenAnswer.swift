// What a tool is told after something was forgotten: by the agent, or by the tool itself where none runs.

import FieldBus

package enum ForgottenAnswer {
  /// `planned`: those that the running plan still keeps clear of what they refused, until the next start.
  package static func write(_ devices: [String], _ planned: [String], into json: inout JSONWriter) {
    json.object { root in
      for (key, names) in [("forgotten", devices), ("planned_until_restart", planned)] {
        root.key(key)
        root.array { list in for name in names { list.string(name) } }
      }
    }
  }
}
