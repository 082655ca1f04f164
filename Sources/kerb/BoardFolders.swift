// Where boards are found when nobody says.

import FieldBus
import Gateway
import Glibc

enum BoardFolders {
  /// The system's, then a `boards` folder above the executable: a build's own tree.
  static var usual: [String] {
    var folders = BoardLibrary.systemFolders
    if var place = ProfileFolders.executable {
      while let slash = place.lastIndex(of: "/") {
        place = String(place[..<slash])
        if access(place + "/boards/qemu-virt/board.toml", R_OK) == 0 { folders.append(place + "/boards") }
        if place.isEmpty { break }
      }
    }
    return folders
  }

  static var library: BoardLibrary { BoardLibrary(searchPaths: usual) }
}
