import CLinux
import Glibc
import TestSupport
import Testing

@testable import FieldBus

/// Reads to the end, on a thread of its own.
private final class SlowReader {
  private var handle = pthread_t()
  private let descriptor: Int32
  private var got: [UInt8] = []

  init(_ descriptor: Int32) {
    self.descriptor = descriptor
    pthread_create(
      &handle, nil,
      { raw in
        guard let raw else { return nil }
        Unmanaged<SlowReader>.fromOpaque(raw).takeUnretainedValue().read()
        return nil
      }, Unmanaged.passUnretained(self).toOpaque())
  }

  private func read() {
    var part = [UInt8](repeating: 0, count: 30_011)
    while true {
      let count = Glibc.read(descriptor, &part, part.count)
      if count <= 0 { return }
      got += part[..<count]
    }
  }

  func bytes() -> [UInt8] {
    pthread_join(handle, nil)
    return got
  }
}

@Suite("Writing all of it")
struct WholeWriteTests {
  @Test("What a full pipe leaves over is written when there is room, in order")
  func leftOver() {
    var ends: [Int32] = [-1, -1]
    // A child that had the end that is written to would keep the reader waiting for as long as it lives.
    let code = Spawning.start {
      guard pipe(&ends) == 0 else { return errno }
      return fcntl(ends[0], F_SETFD, FD_CLOEXEC) | fcntl(ends[1], F_SETFD, FD_CLOEXEC)
    }
    #expect(code == 0)
    #expect(kerb_fd_nonblocking(ends[1]) == 0)
    let reader = SlowReader(ends[0])
    // Many times what a pipe holds.
    let bytes = (0..<1_000_000).map { UInt8(truncatingIfNeeded: $0 / 251) }
    #expect(WholeWrite.bytes(bytes, to: ends[1]) == 0)
    close(ends[1])
    let got = reader.bytes()
    #expect(got.count == bytes.count)
    #expect(got == bytes)
    close(ends[0])
  }

  @Test("What takes nothing says why")
  func refused() {
    let full = open("/dev/full", O_WRONLY | O_CLOEXEC)
    #expect(full >= 0)
    #expect(WholeWrite.bytes([1], to: full) == ENOSPC)
    #expect(WholeWrite.bytes([], to: full) == 0)
    close(full)
    #expect(WholeWrite.bytes([1], to: -1) == EBADF)
  }
}
