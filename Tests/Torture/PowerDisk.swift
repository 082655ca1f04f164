// An ext4 on a loop device whose power can be taken: FS_IOC_SHUTDOWN without a flush of its journal. Root only.

import CFaultVFS
import Glibc

struct PowerDisk {
  /// Of ten milliseconds.
  private static let looksMax = 1_000
  private let mountPoint: String
  private let device: String

  /// Nil, with the reason printed: no loop device or no mount can be had here.
  static func make(in folder: String, bytes: Int) -> PowerDisk? {
    guard fault_own_mounts() == 0 else { return nil }
    let image = folder + "/disk.img"
    let mountPoint = folder + "/disk"
    mkdir(mountPoint, 0o755)
    let file = open(image, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
    guard file >= 0, ftruncate(file, off_t(bytes)) == 0 else { return nil }
    close(file)
    guard system("mkfs.ext4 -q -F '\(image)' >/dev/null 2>&1") == 0,
      let device = firstLine("losetup -f --show '\(image)' 2>/dev/null")
    else { return nil }
    let disk = PowerDisk(mountPoint: mountPoint, device: device)
    guard disk.restore() == nil else {
      disk.remove()
      return nil
    }
    return disk
  }

  var path: String { mountPoint }

  private static func firstLine(_ command: String) -> String? {
    guard let pipe = popen(command, "r") else { return nil }
    var bytes = [CChar](repeating: 0, count: 256)
    let line = fgets(&bytes, Int32(bytes.count), pipe).map { String(cString: $0) }
    pclose(pipe)
    return line?.split(separator: "\n").first.map(String.init)
  }

  /// What is wrong, or nil.
  func cut() -> String? {
    let code = fault_power_off(mountPoint)
    return code == 0 ? nil : "the power can't be taken: \(String(cString: strerror(-code)))"
  }

  func restore() -> String? {
    // Who was killed lets go of it when it has ended; mounted again before, the disk would still be without power.
    var looks = 0
    while umount2(mountPoint, 0) != 0, errno == EBUSY {
      guard looks < Self.looksMax else { return "the disk can't be unmounted: somebody holds it" }
      looks += 1
      _ = poll(nil, 0, 10)
    }
    guard mount(device, mountPoint, "ext4", 0, nil) == 0 else {
      return "the disk can't be mounted: \(String(cString: strerror(errno)))"
    }
    return nil
  }

  func remove() {
    _ = umount2(mountPoint, 0)
    _ = system("losetup -d '\(device)' 2>/dev/null")
  }
}
