// The bounds of what platforms pull and command, and the reason for each; /metrics shows them all.

extension Limits {
  /// A chain has 5 KB; a file of many CAs a quarter of this.
  package static let certificateBytesMax = 1 << 20
  /// What a TLS connection takes: 28 KiB measured over 60 of them.
  package static let tlsBytesPerConnection = 32 << 10
  /// The certificate files are looked at this often: four calls of stat().
  package static let certificateLookNs: Int64 = 10_000_000_000
  /// From so long before the last day of its certificate the agent says so: time to send somebody.
  package static let certificateWarnSeconds: Int64 = 21 * 86_400
  package static let pullPortDefault = 8_480
  package static let connectionsMax = 64
  package static let connectionsPerAddressMax = 16
  /// Half of all: a platform of many machines that forgets its connections must not keep the others out.
  package static let connectionsPerConsumerMax = connectionsMax / 2
  /// Over the limit, but still told so before they are closed; of one address a quarter.
  package static let connectionsTurnedAwayMax = 16
  package static let headerBytesMax = 8_192
  /// Half a head: a cursor and every parameter in percent codes four times over; and who sends a longer one is told
  /// that, not that the head is too long.
  package static let targetBytesMax = headerBytesMax / 2
  package static let bodyBytesMax = 65_536
  package static let headerNsMax: Int64 = 10_000_000_000
  package static let idleNsMax: Int64 = 75_000_000_000
  package static let longPollsMax = 32
  /// Half, as of the connections.
  package static let longPollsPerConsumerMax = longPollsMax / 2
  package static let waitSecondsMax = 60
  /// With full answers of ten thousand records this is five million a second: nobody who pulls comes near it.
  package static let requestsPerSecondMax = 500
  /// Two seconds of it at once: a platform that comes back asks for everything.
  package static let requestsBurstMax = 2 * requestsPerSecondMax
  /// A platform's command ends in this time, whatever came of it: three transactions of a full line with a retry each,
  /// and less than a platform waits for an answer.
  package static let platformCommandNs: Int64 = 10_000_000_000
  /// Commands of platforms under way at once: the other places of a bus are for whoever stands before the box.
  package static let platformCommandsMax = commandsPerBusMax / 2
  /// Of one platform: what a person does by hand, and ten at once for a street of lamps. A register's memory wears out.
  package static let commandsPerSecondMax = 1
  package static let commandsBurstMax = 10
  /// Of one platform: answers that are kept for who asks again with the same key, and how long.
  package static let commandKeysMax = 64
  package static let commandKeyNs: Int64 = 3_600_000_000_000
  package static let commandKeyBytesMax = 64
  /// Two values with their units and names of values.
  package static let commandAnswerBytesMax = 1_024
  /// What is to be written, as text.
  package static let commandValueBytesMax = 64
  /// Wrong tokens from one address whose refusal is not held back: slips of the finger.
  package static let guessesFree = 8
  /// The refusals after that: with all connections of an address, 64 guesses a second at 256 bits.
  package static let guessDelayNs: Int64 = 250_000_000
  /// Addresses whose guesses are counted; of more the one that was quiet longest is forgotten.
  package static let guessersMax = 256
  package static let guesserForgottenNs: Int64 = 300_000_000_000
  package static let recordsPerAnswerDefault = 1_000
  package static let recordsPerAnswerMax = 10_000
  package static let answerBytesMax = 512 << 10
  /// All answers that are made or on their way to the kernel, together; beyond it each gets `answerBytesMin`.
  package static let answersBytesMax = 2 * answerBytesMax
  /// Four hundred records: the way there and back still costs less than they do.
  package static let answerBytesMin = 32 << 10
  /// Answers in the making at once: one is read while another is written down. An alarm waits for two steps of them.
  package static let deliveriesAtWorkMax = 2
  /// Given to the socket at once: what a connection holds beside the answer itself.
  package static let answerPieceBytes = 32 << 10
  /// The parts of records that are always the same, for one format: 4,000 series. Of more the rest is written anew each
  /// time.
  package static let recordFormsBytesMax = 512 << 10
  /// Telemetry goes out in batches whose ends are multiples of this sequence, so that a batch is the same whoever asks
  /// and wherever they begin; about 5 KiB of JSON.
  package static let recordsPerBatchMax = 64
  /// Read from the store at once, and the rest of its last block: about a hundred kilobytes of samples.
  package static let recordsPerReadMax = 2_048
  /// Looked at for one answer, in and out of scope: then it goes out as it is, so that a narrow scope behind a long
  /// backlog can't keep the store from the others.
  package static let recordsScannedPerAnswerMax = 65_536
  /// Gaps in the head of a SenML answer, about 120 bytes each; the rest comes with the next one.
  package static let gapHeadersMax = 32
  /// A smaller answer gains nothing by compression.
  package static let compressBytesMin = 1_024
  /// What zlib takes for one answer: a window of 8 KiB, its hash table and its output.
  package static let compressionBytes = 68 << 10
  /// Answers that are being compressed at once; the next one goes out as it is.
  package static let compressionsMax = 8
  /// Compressed in one turn of the event loop: 2 ms on a slow core, so that an alarm is not held up.
  package static let compressBytesPerTurn = 32 << 10
  /// Names, kinds and units of old blocks: the present catalogue and two before it.
  package static let cataloguesCachedMax = 3
  /// Requests of one connection that wait behind the one being answered; more are not read from the socket.
  package static let requestsWaitingMax = 16
  /// One read from a socket; a request's head is seldom longer.
  package static let socketReadBytes = 4_096
  /// Open answers are finished and connections closed in this time at a stop.
  package static let farewellNs: Int64 = 2_000_000_000
  /// A health check that the store doesn't answer in this time says so.
  package static let healthNs: Int64 = 2_000_000_000
  /// Refused tokens are logged this often at most, with their count: an attack must not fill the journal.
  package static let refusalLogNs: Int64 = 10_000_000_000
  /// Deeper JSON is nothing that Kerb reads.
  package static let jsonDepthMax = 32
}
