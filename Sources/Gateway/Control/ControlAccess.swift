// What a peer at the control socket may do: decided by the user and group that the kernel vouches for. A value.

import CLinux
import FieldBus
import Glibc
import StreamCore

package enum ControlAccess: Sendable, Comparable {
  case none, read, change

  /// Root, the agent's own user and group `kerb-admin` change things; group `kerb` reads. Whom the agent's user
  /// namespace has no number for has passed the socket's permissions: a member of its group. Nothing more is known
  /// of him, so he reads.
  package static func of(uid: UInt32, gid: UInt32, agent: UInt32, namespace: UserNamespace) -> ControlAccess {
    if uid == 0 || uid == agent { return .change }
    if uid == UserNamespace.overflow, !namespace.knows(uid) { return .read }
    if kerb_user_in_group(uid, gid, "kerb-admin") == 1 { return .change }
    return kerb_user_in_group(uid, gid, "kerb") == 1 ? .read : .none
  }
}

/// Which users have a number in here (user_namespaces(7)).
package struct UserNamespace: Sendable {
  /// What the kernel calls everybody else: its default, which nobody changes in earnest.
  static let overflow: UInt32 = 65_534

  private var ranges: [(first: UInt64, count: UInt64)]

  /// Lines of `inside outside count`, as in /proc/self/uid_map. What can't be read is taken for the whole range: then
  /// nobody is let in for having no number.
  package init(map: String) {
    ranges = map.split(separator: "\n").compactMap { line in
      let numbers = line.split(separator: " ").compactMap { UInt64($0) }
      guard numbers.count == 3, numbers[2] > 0 else { return nil }
      return (numbers[0], numbers[2])
    }
    if ranges.isEmpty { ranges = [(0, UInt64(UInt32.max))] }
  }

  package static var current: UserNamespace {
    UserNamespace(map: (try? TextFile.read("/proc/self/uid_map", bytesMax: Limits.uidMapBytesMax)) ?? "")
  }

  func knows(_ uid: UInt32) -> Bool {
    ranges.contains { UInt64(uid) >= $0.first && UInt64(uid) - $0.first < $0.count }
  }
}
