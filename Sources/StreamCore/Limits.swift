// Every bound of the program, and the reason for its value. A limit that follows from others is computed here.

package enum Limits {
  // MARK: The site

  /// A box has four to eight ports; serial servers over TCP may add some.
  package static let busesMax = 32
  /// A community of 2,000 devices is read by several boxes.
  package static let devicesMax = 1_000
  /// Fits UInt16 with room; 8 points a device on average.
  package static let pointsMax = 8_000
  /// A series is what has a name upstream: a point, or one statistic of one of its windows. Fits UInt16.
  package static let seriesMax = 40_000
  package static let alarmsMax = 4_000
  package static let consumersMax = 16
  package static let listenersMax = 8

  // MARK: Names and texts

  /// «box/device/point/window-stat» must stay readable in one line of a terminal.
  package static let nameBytesMax = 64
  /// Sixteen registers of text; longer texts are of no use in a time series.
  package static let textBytesMax = 32
  /// 128 bits of HMAC-SHA-256: no two cards of a city collide.
  package static let pseudonymBytes = 16
  /// A consumer's keys are counted; nobody rotates a key a day for more than two years without a new box.
  package static let pseudonymKeysMax = 1_000
  package static let messageBytesMax = 256

  // MARK: Configuration

  /// A thousand devices with their labels take 200 KB; what is larger is not a configuration.
  package static let configurationBytesMax = 4 << 20
  package static let profileBytesMax = 256 << 10
  /// Tables and arrays of TOML within each other: the deepest setting lies six levels down. What reads such a file
  /// recurses by level, a few hundred bytes of stack for each.
  package static let tomlLevelsMax = 16
  /// Behind it the place of a mistake inside a text does not count the text's backslashes: nobody writes such lines,
  /// and a file of one line with 100 000 texts would be walked as often.
  package static let placeColumnMax = 1_024
  /// Where commissioning has platforms pull from over the network.
  package static let tlsPortUsual = 8_443
  /// A record of how the box was set up, with what was wrong: a screen or two.
  package static let commissionRecordBytesMax = 64 << 10
  package static let commissionProblemsMax = 20
  /// A board's file has a page or two, its rules likewise.
  package static let boardBytesMax = 64 << 10
  /// A carrier board has eight; with the sockets of its adapters twice that.
  package static let boardPortsMax = 16
  /// Sysfs gives one page at most; a list of compatible names is far shorter.
  package static let sysfsBytesMax = 4 << 10
  /// RFC 1035, 2.3.4.
  package static let hostBytesMax = 253
  /// Names of an enumeration's values.
  package static let valuesPerPointMax = 64
  /// Sentinels for «no value»: a device has one or two.
  package static let invalidPerPointMax = 8
  package static let labelsPerDeviceMax = 16
  /// Longer unit texts are sentences.
  package static let unitBytesMax = 32
  /// Reading, reporting and reducing rarer than once a day is a report, not a time series.
  package static let intervalNsMax: Int64 = 86_400_000_000_000
  /// A window shorter than a batch's age reduces nothing.
  package static let windowNsMin: Int64 = 1_000_000_000
  package static let frameEndBytesMax = 4
  /// Fields of a line of text; a reader's record has three to ten.
  package static let textFieldsMax = 32
  /// A line with all its fields, eight bytes each, and room for one long text.
  package static let textLineBytesMax = 512
  /// Bytes of a binary frame: a DL/T 645 reply has at most 212, a CJ/T 188 reply 113, and one length byte can't
  /// say more.
  package static let serialFrameBytesMax = 256
  /// What a frame begins with; four chosen bytes are met in noise once in an hour of a full line at 9600 baud.
  package static let frameStartBytesMax = 4
  /// Offsets at which a reply repeats what was asked: address, command, register and count.
  package static let frameEchoMax = 8
  /// A question to a device, with its preamble; the longest known has 30.
  package static let askBytesMax = 96
  /// The name of a value in a line such as T=21.5;H=40.
  package static let fieldKeyBytesMax = 16
  /// Bytes of 0xFE that wake a meter: the standards name two to four, some modems want more.
  package static let meterPreambleMax = 8
  /// A meter is read this often if nothing else is said: its reply takes a quarter of a second at 2400 baud.
  package static let meterIntervalNs: Int64 = 60_000_000_000
  /// DL/T 645-2007, 5.2.6 and CJ/T 188-2018, 6.2: what a reply's data field holds at most.
  package static let dlt645DataBytesMax = 200
  package static let cjt188DataBytesMax = 100
  /// sockaddr_un.sun_path, less the terminating zero.
  package static let unixPathBytesMax = 107

  // MARK: Modbus (Modbus Application Protocol V1.1b3, sections 6.1 to 6.4)

  package static let registersPerReadMax = 125
  /// Unit addresses (Modbus over Serial Line V1.02, 2.2; over TCP a gateway may be 0 or 255).
  package static let rtuUnits = 1...247
  package static let tcpUnits = 0...255
  package static let modbusPort = 502
  package static let bitsPerReadMax = 2_000
  /// Protocol addresses are 16 bits wide.
  package static let registersPerTable = 65_536
  package static let registersPerPointMax = textBytesMax / 2

  // MARK: Stream

  /// One batch is what a bus hands over in a second: 256 samples at 115200 baud are 2 s of a full line.
  package static let samplesPerBatchMax = 256
  /// Texts are rare (a card shown, a firmware version); 64 full ones.
  package static let textBytesPerBatch = 64 * textBytesMax
  /// A batch with an alarm is handed over at once; sixteen can change in one transaction.
  package static let eventsPerBatchMax = 16
  /// A bus's batches between it and the store: one filling, the others ride out a stall of the disk of about 7
  /// s at full speed, and of minutes at the usual rate.
  package static let batchesPerBus = 8
  /// An alarm's change hands its batch over at once while fewer than these wait; beyond it the store is behind,
  /// haste gains nothing, and a contact that chatters would spend a batch on every change.
  package static let batchesHastyMax = batchesPerBus / 2
  /// A batch waits this long for more samples.
  package static let batchAgeNsMax: Int64 = 1_000_000_000
  /// With the store behind, a full batch is offered again this often: a tenth of the shortest poll.
  package static let handOverRetryNs: Int64 = 10_000_000
  package static let windowsPerPointMax = 4
  /// A sliding window of an hour moves every minute; each pane has memory of its own.
  package static let panesPerWindowMax = 60
  /// A value stands for three of its intervals, and at least so long: a full line is behind by no more.
  package static let validNsMin: Int64 = 60_000_000_000
  /// Less of a window's time than this with Good values, and its statistics are uncertain.
  package static let coverageGood = 0.5
  /// Seventeen statistics there are, and a window may want them all.
  package static let statisticsPerWindowMax = 17
  /// Values and operators in an expression: enough for ten comparisons joined.
  package static let programLengthMax = 48
  package static let programStackMax = 16
  /// Of age, rising and falling in one expression. A program's cells on its bus are counted in 16 bits: both
  /// programs of every alarm and one of every point fit.
  package static let cellsPerProgramMax = 4
  /// Points of other devices in one expression.
  package static let linksPerProgramMax = 4
  /// Points of other devices that the expressions of a bus name: all are looked up before each reading, in 20 µs.
  package static let linksPerBusMax = 1_024
  /// What rests on time or on other devices is evaluated at least this often.
  package static let lookAgainNs: Int64 = 1_000_000_000
  package static let causesPerAlarmMax = 4

  // MARK: Alarms

  /// More alarms than these in `floodNs` are a flood, fewer than `floodEndAlarms` its end (ISA-18.2, 16.5.2).
  package static let floodAlarms = 10
  package static let floodEndAlarms = 5
  package static let floodNs: Int64 = 600_000_000_000
  /// Who is reminded more often than this does not listen any more.
  package static let remindNsMin: Int64 = 10_000_000_000
  package static let escalateNsMin: Int64 = 1_000_000_000
  /// Whoever changes an alarm waits so long for its bus: longer than most transactions, and less than a tool waits.
  package static let alarmOrderNs: Int64 = 8_000_000_000
  /// A jump of the wall clock, and not its drift; it is doubted for so long.
  package static let clockStepNs: Int64 = 60_000_000_000
  package static let clockDoubtNs: Int64 = 600_000_000_000
  /// A box that has just started needs minutes to hear from a time server.
  package static let clockPatienceNs: Int64 = 600_000_000_000
  /// A shelf is for a repair, not for ever: out of service is said in so many words.
  package static let shelfNsMax: Int64 = 7 * 86_400_000_000_000
  /// Alarms that explain one other.
  package static let suppressorsPerAlarmMax = 8
  /// What somebody writes when they acknowledge: 45 Chinese characters. With who it was (as long as a
  /// name) and all that is told of an event this fills a row of the log.
  package static let noteBytesMax = 136

  // MARK: Memory

  /// The threads, the store's page caches and one bus fit in this.
  package static let memoryLimitBytesMin = 1 << 20
  /// What `memory_limit` may be set to at most: half of a 64 MiB box.
  package static let memoryLimitBytesMax = 32 << 20
  package static let memoryLimitBytesDefault = 8 << 20

  /// The allocator takes larger blocks from the system and gives them back when they are let go. Answers are such.
  package static let mallocBlockBytes = 128 << 10

  // MARK: Polling

  package static let responseTimeoutNsMin: Int64 = 10_000_000
  package static let responseTimeoutNsMax: Int64 = 10_000_000_000
  package static let retriesMax = 5
  /// The standards give a meter 500 ms to begin its reply; some need them all.
  package static let meterResponseNs: Int64 = 1_000_000_000
  /// The slowest meter known to the trade wants 200 ms between frames.
  package static let turnaroundNsMax: Int64 = 1_000_000_000
  /// What was learned is written at most this often: it only saves time, and flash is dear.
  package static let learnedKeepNs: Int64 = 3_600_000_000_000
  /// What a learned timeout adds: a loaded box's scheduler and a USB adapter's 16 ms of batching.
  package static let timeoutSlackNs: Int64 = 25_000_000
  /// What is read as often as the line allows counts as overdue against this.
  package static let alwaysIntervalNs: Int64 = 1_000_000_000
  /// A reply that is owed is waited for so long: no device and no radio link holds one back for a minute.
  package static let owedNsMax: Int64 = 60_000_000_000
  /// A line that never falls silent is asked all the same after this.
  package static let babbleNsMax: Int64 = 1_000_000_000
  /// A dead device is probed at least this often, budget permitting.
  package static let backoffNsMax: Int64 = 60_000_000_000
  package static let reopenNsMin: Int64 = 250_000_000
  /// A replugged adapter is noticed in under 2 s.
  package static let reopenNsMax: Int64 = 2_000_000_000

  // MARK: Commands and the black box

  /// Commands that wait for one bus: a person, a scan and a platform at once, and one more.
  package static let commandsPerBusMax = 4
  /// Beyond its own timeout a command waits so long for its turn: longer than any transaction with its drain.
  package static let commandWaitNs: Int64 = 30_000_000_000
  /// A patient command (a scan) waits so long for a gap in the polls; then it takes its turn on a full bus, too.
  package static let patienceNs: Int64 = 2_000_000_000
  /// A scan's first timeout for each address, before the line's own devices have shown how fast they are.
  package static let scanTimeoutNs: Int64 = 150_000_000
  /// Of meters: DL/T 645-2007, 5.3.2 gives a meter 500 ms to begin its reply.
  package static let meterScanTimeoutNs: Int64 = 600_000_000
  package static let scanTimeoutNsMin: Int64 = 30_000_000
  /// Longest Modbus frame: 256 bytes on RTU, 260 over TCP; a stray burst is cut off.
  package static let frameBytesMax = 264
  /// Frames that each bus remembers: the last 64 transactions, three to ten seconds of a busy line, in 36 KiB.
  package static let framesKept = 128

  /// A thread that has not moved for so long has stopped: longer than any timeout and a slow card's fsync together.
  package static let stallNsMax: Int64 = 30_000_000_000

  /// 2024-01-01: no box with this program lives before it, so a clock that says so has not been set.
  package static let wallClockNsMin: Int64 = 1_704_067_200_000_000_000

  // MARK: Store

  package static let pageBytes = 4_096
  /// One block fills one table leaf: page, less the page's and the cell's headers, and 5 bytes of slack.
  package static let blockBytes = 4_048
  package static let telemetryBytesMin = 1 << 20
  package static let telemetryBytesMax = 64 << 30
  package static let alarmBytesMin = 1 << 20
  package static let alarmBytesMax = 1 << 30
  package static let commitNsMin: Int64 = 1_000_000_000
  package static let commitNsMax: Int64 = 600_000_000_000
  /// SQLite's page caches, its heap and the index of its logs, for both files together, and the thread's
  /// stack as far as it is touched: a store at work with a ring of 4 MiB or 1 GiB made 750 KiB its own, 170
  /// of them for blocks (make bench).
  package static let storeCacheBytes = 640 << 10
  /// Cursors are written this often, and at shutdown.
  package static let cursorCommitNs: Int64 = 30_000_000_000
  /// Two bytes count them; a block of 4 KiB that holds more is nearly all repetition.
  package static let samplesPerBlockMax = 4_096
  /// Series that one block tells apart, a power of two: what each of them takes at its first sample leaves
  /// room for no more.
  package static let seriesPerBlockMax = 1_024
  /// Full blocks that wait in RAM for a disk that is full or slow: 64 KiB, an hour at ten samples a second.
  package static let blocksPendingMax = 16
  /// Alarm events that wait for a failing disk; beyond it the buses keep them, none is dropped.
  package static let eventsPendingMax = 256
  /// The WAL goes back into the file after so many pages (1 MiB): a checkpoint stays under 0.1 s on a slow card.
  package static let walPages = 256
  /// Kept between checkpoints and starts, so that a full disk can't stop a commit: the pages, their headers,
  /// and as much again for a commit that runs past the mark.
  package static let walBytesKept = 2 * walPages * (pageBytes + 24)
  /// What SQLite may keep of each file in memory. A block is read once and written once: a cache is of no use to it.
  package static let telemetryCacheKiB = 64
  package static let alarmCacheKiB = 128
  package static let storeStackBytes = 512 << 10
  /// Longest look at a file's structure before service begins; the checksums guard the contents anyway.
  package static let quickCheckNs: Int64 = 100_000_000
  /// 128 KiB a step: an alarm waits for it about 30 ms on the slowest card.
  package static let prefillSlotsPerStep = 32
  /// Rows of the alarm log a step: as many bytes.
  package static let prefillRowsPerStep = 12 * prefillSlotsPerStep
  /// 256 MiB are prepared in about two minutes, with half of the time left to others.
  package static let prefillEveryNs: Int64 = 50_000_000
  /// After a failed commit or open; the disk is asked again this often.
  package static let storeRetryNs: Int64 = 1_000_000_000
  /// A state folder that can't be opened is tried again this often: it may be mounted, emptied or exchanged meanwhile.
  package static let stateRetryNs: Int64 = 5_000_000_000
  /// Beside a buffer that has its room: for the files that change with the configuration, each written anew before the
  /// old one goes. Below it a person is told.
  package static let stateRoomBytesMin: Int64 = 1_048_576
  /// A look at the system's rules and ports takes some milliseconds; what is missing is seen every second.
  package static let boxLookNs: Int64 = 60_000_000_000
  /// A paragraph in each of two languages.
  package static let noticeBytesMax = 4 << 10
  /// The same trouble is not said again before: a loose plug would fill the journal.
  package static let troubleSayNs: Int64 = 60_000_000_000
  /// The longest the store thread sleeps: its heart beats at least this often.
  package static let storeWaitNs: Int64 = 1_000_000_000
  /// Requests that wait for the store thread: every connection has one in flight.
  package static let storeRequestsMax = 4 * connectionsMax
  /// Blocks that one read looks at: 1 MiB from the flash, so that the store thread is soon free again.
  package static let blocksPerReadMax = 256
  /// Gaps told to a consumer and not yet acknowledged that are counted one by one: two full reads, of blocks that
  /// have a gap behind every sample. 16 KiB each, where somebody reads what was thinned.
  package static let gapsPendingMax = 1_024
  /// Gaps of one read; more come with the next.
  package static let gapsPerReadMax = gapsPendingMax / 2
  /// Part of the ring's file that is the reserve's, in eighths, unless it is given: a quarter.
  package static let reserveEighths = 2
  /// Days of which is known how much was written: a month to judge by, in one page that is there anyway.
  package static let flashDaysMax = 31
  /// What was written is itself written down this often at most: 100 KB a day.
  package static let flashKeepNs: Int64 = 3_600_000_000_000
  /// Sixteen blocks: less is not worth a table of its own.
  package static let reserveBytesMin = 16 * pageBytes
  /// Blocks that are given to the reserve at once, while they are still in the ring: enough for ten windows of a minute
  /// to meet at 50 samples a second, and 30 ms on a slow core.
  package static let blocksPerStrideMax = 64
  /// Samples of a stride; their fates are numbered in 15 bits.
  package static let samplesPerStrideMax = 32_768
  /// Blocks that retention rewrites in one commit: 256 KiB.
  package static let blocksPerSweepMax = 64
  /// It looks for what has become too old this often.
  package static let sweepEveryNs: Int64 = 3_600_000_000_000
  /// Shorter than the time between two sweeps would be a promise that the flash does not keep.
  package static let retentionNsMin: Int64 = 3_600_000_000_000
  package static let retentionNsMax: Int64 = 3_650 * 86_400_000_000_000
  /// So many windows become one. What is ten times as long still shows a night.
  package static let windowsMerged = 10
  /// Of single readings the last in so long stays.
  package static let thinReadingNs: Int64 = 600_000_000_000
  /// Epochs whose wall time is remembered; one more at each start of the agent.
  package static let epochsMax = 4_096
  /// All stored versions of the catalogue together. 2,000 points take about 200 KiB.
  package static let catalogueBytesMax = 8 << 20
  /// Fingerprints of catalogues that stand in telemetry.db: 40 bytes each, in a page that is there anyway.
  package static let fingerprintsMax = 64
  /// Slots of a new ring that are written in one commit, while nothing else waits for the disk: 1 MiB.
  package static let draftSlotsPerStep = 256
  /// Ranges of sequences that are remembered as damaged when no block tells of them any more: 20 bytes each, in a page
  /// that is there anyway.
  package static let damagedRangesMax = 8
  /// Looking for what is good in a damaged file may delay the start, or stop the store thread, by so much, and writing
  /// it again by as much: what buses and alarms bring meanwhile fits into memory on all but the fastest lines.
  package static let salvageNs: Int64 = 10_000_000_000
  /// Blocks that are taken out of a damaged ring, the newest: 128 MiB; their places take 768 KiB of memory meanwhile.
  package static let salvageBlocksMax = 32_768
  /// Copied in one step of a backup: 1 MiB, a tenth of a second on a slow card.
  package static let backupPagesPerStep = 256
  /// Damaged stores that are kept for an autopsy.
  package static let quarantineMax = 3

  // MARK: Control socket

  package static let controlConnectionsMax = 16
  package static let controlLineBytesMax = 65_536
  /// The kernel takes at most a page of lines for a user namespace's map.
  package static let uidMapBytesMax = 16_384
  /// The answer for 8,000 points fits.
  package static let controlAnswerBytesMax = 4 << 20
  /// The tools wait this long for the agent.
  package static let controlWaitNs: Int64 = 10_000_000_000

  // MARK: Virtual sites

  /// As large as a configuration: a site describes the same devices.
  package static let siteBytesMax = 4 << 20
  /// From the slowest meters to more than any RS-485 line can do.
  package static let virtualBauds = 300...4_000_000
  /// The shortest time in which something can happen: an agent doesn't look more often.
  package static let siteIntervalNsMin: Int64 = 1_000_000
  /// A reply is late by a thousandth of a second up to long after every timeout.
  package static let siteDelayNsMin: Int64 = 1_000_000
  package static let siteDelayNsMax: Int64 = 60_000_000_000
  /// Nobody shows cards faster than ten a second.
  package static let speaksEveryNsMin: Int64 = 100_000_000
}
