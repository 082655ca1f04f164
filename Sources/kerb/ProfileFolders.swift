// Where device profiles are found when nobody says.

import FieldBus
import Glibc

enum ProfileFolders {
  /// `/etc/kerb/profiles`, `/usr/share/kerb/profiles`, then a `profiles` folder above the executable: a build's
  /// own tree.
  static var usual: [String] {
    var folders = ["/etc/kerb/profiles", "/usr/share/kerb/profiles"]
    if var place = executable {
      while let slash = place.lastIndex(of: "/") {
        place = String(place[..<slash])
        let candidate = place + "/profiles"
        if access(candidate + "/manhole-cover/generic.toml", R_OK) == 0 { folders.append(candidate) }
        if place.isEmpty { break }
      }
    }
    return folders
  }

  static var executable: String? {
    TextFile.resolved("/proc/self/exe")
  }
}
