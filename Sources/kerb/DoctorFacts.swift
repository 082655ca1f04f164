// What the doctor judges: the box's facts, as `DoctorLook` found them or a test has made them up. A value.

import Gateway

/// What was found out about the box.
struct DoctorFacts {
  enum AgentState: Equatable {
    case running, none, silent, forbidden
  }

  struct Port {
    var bus: String
    var path: String
    /// Not there: why, in English and Chinese.
    var missing: (en: String, zh: String)?
    var isSerial = true
    var mayOpen = true
    /// Who has it, of other programs than the agent.
    var strangers: [String] = []
    /// A name that another adapter can get at the next boot.
    var isNumbered = false
  }

  var configurationPath = ""
  var mistakes: [String] = []
  var isReadable = true
  var buses = 0
  var devices = 0
  var consumers = 0
  var agent = AgentState.none
  var status = JSONValue.null
  var deviceList: [JSONValue] = []
  var buffer = JSONValue.null
  var alarms: [JSONValue] = []
  var ports: [Port] = []
  var statePath = ""
  var stateExists = true
  /// What speaks against the state folder as the agent's; nil: nothing.
  var stateRefusal: Phrase?
  /// Of board, rules and ports, as the agent says them; without an agent as they are found.
  var troubles: [Trouble] = []
  /// Of the state folder's file system; nil: not known.
  var freeBytes: Int64?
  /// What the buffer will still grow by.
  var wantedBytes: Int64 = 0
  /// Mode of box.key; nil: not there, or not to be seen.
  var keyMode: UInt32?
  var isClockSynchronised = false
  var unixSeconds: Int64 = 0
  /// Of the certificate; nil: there is none.
  var certificateExpires: Int64?
}
