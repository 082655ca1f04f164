// Looks at everything that is stored, and copies it, in steps that hold nobody up. On the store thread, or
// of a store at rest on the caller's.

import CSQLite
import Glibc
import StreamCore

extension Buffer {
  /// Every block and event against its checksum, `Limits.blocksPerReadMax` blocks a step. `from`: what the
  /// last step said.
  func verify(from: Int64?) -> Result<VerifyAnswer, StoreFailure> {
    do throws(StoreFailure) {
      guard let ring, let log else { throw unavailable }
      var answer = VerifyAnswer()
      if from == nil {
        answer.events = try log.verify(damaged: &answer.damagedEvents)
      }
      // The reserve is looked at first; its places count downwards from -1.
      let kept = ring.reserve?.numbers
      var place = from ?? kept.map { -1 - $0.lowerBound } ?? 0
      var left = Limits.blocksPerReadMax
      if place < 0, let reserve = ring.reserve, let kept {
        var number = max(-1 - place, kept.lowerBound)
        while number <= kept.upperBound, left > 0 {
          let block = try reserve.block(number, &ring.reader)
          if !answer.count(block) { answer.damagedReserveBlocks.append(number) }
          (number, left) = (number + 1, left - 1)
        }
        place = number <= kept.upperBound ? -1 - number : 0
      }
      if place >= 0, let numbers = ring.numbers {
        var number = max(place, numbers.lowerBound)
        while number <= numbers.upperBound, left > 0 {
          if !answer.count(try ring.block(number)) { answer.damagedBlocks.append(number) }
          (number, left) = (number + 1, left - 1)
        }
        answer.next = number <= numbers.upperBound ? number : nil
      } else {
        answer.next = place < 0 ? place : nil
      }
      return .success(answer)
    } catch {
      return .failure(error)
    }
  }
}

extension VerifyAnswer {
  /// False: there is no such block.
  fileprivate mutating func count(_ block: StoredBlock?) -> Bool {
    guard let block else { return false }
    blocks += 1
    samples += Int64(block.info.count)
    return true
  }
}

extension Buffer {
  /// One step of a copy, if one is on its way.
  func copyOn() {
    if let backup, backup.step(self) { self.backup = nil }
  }

  /// A new id for both files.
  func renew() throws(StoreFailure) {
    guard let log, let ring else { throw unavailable }
    storeID = try BufferFiles.renew(log, ring)
    try log.connection.bringHome()
  }
}

extension AlarmLog {
  func verify(damaged: inout Int64) throws(StoreFailure) -> Int64 {
    var good: Int64 = 0
    var sequence = oldestSequence
    while sequence <= newest {
      if try event(sequence) != nil { good += 1 } else { damaged += 1 }
      sequence += 1
    }
    return good
  }
}

/// A copy of both files on its way: alarm.db first, so that no cursor of the copy is behind a catalogue that it lacks.
///
/// Invariant: a copy is whole or it is removed.
final class BackupTask {
  let folder: String
  let completion: (Result<Int64, StoreFailure>) -> Void
  private var copy: FileCopy?
  private var isLogDone = false
  private var bytes: Int64 = 0

  init(folder: String, completion: @escaping (Result<Int64, StoreFailure>) -> Void) {
    self.folder = folder
    self.completion = completion
  }

  /// One step. True: it is over, and `completion` was called.
  func step(_ buffer: Buffer) -> Bool {
    do throws(StoreFailure) {
      guard let ring = buffer.ring, let log = buffer.log else { throw buffer.unavailable }
      if copy == nil {
        let name = isLogDone ? StateFolder.telemetry : StateFolder.alarms
        copy = isLogDone ? try ring.copy(to: folder + "/" + name) : try log.copy(to: folder + "/" + name)
      }
      guard let pages = try copy?.step(Limits.backupPagesPerStep) else { return false }
      bytes += pages * Int64(Limits.pageBytes)
      copy = nil
      if !isLogDone {
        isLogDone = true
        return false
      }
      StateFolder.sync(folder)
      completion(.success(bytes))
    } catch {
      fail(error)
    }
    return true
  }

  func fail(_ failure: StoreFailure) {
    copy = nil
    StateFolder.removeFiles(in: folder)
    completion(.failure(failure))
  }
}

/// SQLite's online copy of one file (sqlite.org/backup.html). What the source's own connection writes
/// meanwhile is in it.
final class FileCopy {
  private let target: OpaquePointer
  private var backup: OpaquePointer?
  private let path: String

  init(of source: OpaquePointer, to path: String) throws(StoreFailure) {
    var raw: OpaquePointer?
    let flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE
    let code = sqlite3_open_v2(path, &raw, flags, nil)
    guard code == SQLITE_OK, let raw else {
      sqlite3_close_v2(raw)
      throw StoreFailure(closed: path, code)
    }
    target = raw
    self.path = path
    // Made whole or thrown away: a journal of it would be written for nobody.
    let pragmas = "PRAGMA journal_mode = OFF; PRAGMA synchronous = FULL; PRAGMA cache_size = -64"
    _ = sqlite3_exec(raw, pragmas, nil, nil, nil)
    backup = sqlite3_backup_init(raw, "main", source, "main")
    guard backup != nil else { throw StoreFailure(database: raw, path: path) }
  }

  deinit {
    if let backup { sqlite3_backup_finish(backup) }
    sqlite3_close_v2(target)
  }

  /// Pages of the finished copy; nil: there are more to come.
  func step(_ pages: Int) throws(StoreFailure) -> Int64? {
    switch sqlite3_backup_step(backup, Int32(truncatingIfNeeded: pages)) {
    case SQLITE_OK: return nil
    case SQLITE_DONE:
      let count = Int64(sqlite3_backup_pagecount(backup))
      let code = sqlite3_backup_finish(backup)
      backup = nil
      guard code == SQLITE_OK else { throw failure(code) }
      return count
    case let code: throw failure(code)
    }
  }

  /// What is wrong with the copy is not wrong with the store.
  private func failure(_ code: Int32) -> StoreFailure {
    switch code & 0xFF {
    case SQLITE_FULL: .unusable(path: path, code: -ENOSPC)
    case SQLITE_CORRUPT: .corrupt(code: code)
    case SQLITE_IOERR where code >> 8 == 1 || code >> 8 == 2: .io(code: code)
    default: .unusable(path: path, code: code)
    }
  }
}

extension TelemetryRing {
  func copy(to path: String) throws(StoreFailure) -> FileCopy { try connection.copy(to: path) }
}

extension AlarmLog {
  func copy(to path: String) throws(StoreFailure) -> FileCopy { try connection.copy(to: path) }
}

extension Connection {
  /// A copy has a mark that no log from before has.
  fileprivate func copy(to path: String) throws(StoreFailure) -> FileCopy {
    do throws(StoreFailure) { try remark() } catch {
      guard error.isFull else { throw error }
    }
    return try FileCopy(of: raw, to: path)
  }
}
