// Why a port can't be used, as far as it tells a person what to do. Pure: an errno in, words out.

import Glibc

package enum PortTrouble: Sendable, Equatable {
  /// Nothing is there: plug it in.
  case absent
  /// What is there is no serial port.
  case foreign
  /// The agent's user may not.
  case forbidden
  /// Somebody else has it.
  case taken
  /// Of a network address: nobody answers there.
  case unreachable
  case other

  package init(code: Int32) {
    switch code {
    case ENOENT, ENODEV, ENXIO: self = .absent
    case ENOTTY, EISDIR, ENOTDIR, EINVAL: self = .foreign
    case EACCES, EPERM: self = .forbidden
    case EBUSY, EAGAIN: self = .taken
    case ECONNREFUSED, EHOSTUNREACH, ENETUNREACH, ENETDOWN, ETIMEDOUT, EINPROGRESS: self = .unreachable
    default: self = .other
    }
  }

  /// The kernel's word for it, but where that misleads: a lock that is held is «temporarily unavailable».
  package static func words(_ code: Int32) -> String {
    code == EAGAIN ? "it is in use" : String(cString: strerror(code))
  }

  package var step: String {
    switch self {
    case .absent: return "plug the adapter in; `kerb ports` lists what is there"
    case .foreign: return "this is no serial port: `kerb ports` lists those that are there"
    case .forbidden: return "it must belong to group kerb: kerb board udev --install, then plug it in again"
    case .taken: return "another program or bus has it: end that; `kerb doctor` names it"
    case .unreachable: return "is the device at that address powered, and on this network?"
    case .other: return "adapter, cable, or who else has it"
    }
  }

  package var chineseStep: String {
    switch self {
    case .absent: return "请插上转换器；`kerb ports` 列出现有端口"
    case .foreign: return "这不是串口：`kerb ports` 列出现有端口"
    case .forbidden: return "须属于 kerb 组：请执行 kerb board udev --install，再重新插拔"
    case .taken: return "被其他程序或总线占用：请结束它；`kerb doctor` 会指出"
    case .unreachable: return "该地址的设备是否通电并在同一网络？"
    case .other: return "检查适配器、线缆,或被谁占用"
    }
  }
}
