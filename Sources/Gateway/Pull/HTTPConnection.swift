// One connection of a platform: takes requests apart by the decoder's parts, has them answered one after the other,
// keeps the limits of time and size. Lives on the event loop.
//
//   idle ──first byte──► head ──► body ──► queued ──► answering ──► idle
//
// Invariants:
//  1. Answers go out in the order of the requests, one whole answer after the other.
//  2. Something is always timed: the head and the body of a request (`headerNs`), the next request and the writing
//     of each piece of an answer (`idleNs`). Only an answer in the making is not: it has its own end.
//  3. After an error of the protocol no more is read as a request: one problem goes out, then the connection ends.

import NIOCore
import NIOHTTP1
import NIOSSL
import StreamCore

/// The spans that a connection is given; the tests make them short.
package struct ConnectionTimes: Sendable {
  package var headerNs = Limits.headerNsMax
  package var idleNs = Limits.idleNsMax
  package var farewellNs = Limits.farewellNs
  package init() {}
}

final class HTTPConnection: ChannelDuplexHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias OutboundIn = HTTPServerResponsePart
  typealias OutboundOut = HTTPServerResponsePart

  enum Phase { case idle, head, body }

  private let desk: PullDesk
  private let peer: String
  private let times: ConnectionTimes
  /// Told when a request has shown a right token, and whose; false: they have too many connections.
  private let proven: (String) -> Bool
  /// Answers the first request, whatever it is: there are too many connections.
  private let turnedAway: PullAnswer?

  private(set) var phase = Phase.idle
  private var receiving: HTTPRequestHead?
  private var bodyBytes = 0
  private var body: [UInt8] = []
  /// The client waits for our word before it sends the body (RFC 9110, section 10.1.1).
  private var owesContinue = false
  private var queue = CircularBuffer<(head: HTTPRequestHead, body: [UInt8])>()
  private var isAnswering = false
  private var delivery: Delivery?
  /// Of the body that is being written.
  private var lease: AnswerLease?
  private var gzip: GzipStream?
  /// Goes out after what is queued; nothing more is received.
  private var lastWord: PullAnswer?
  private var isClosing = false
  private var wantsRead = false
  private var timer: Scheduled<Void>?
  private var context: ChannelHandlerContext?

  init(
    desk: PullDesk, peer: String, times: ConnectionTimes, turnedAway: PullAnswer?, proven: @escaping (String) -> Bool
  ) {
    self.proven = proven
    self.desk = desk
    self.peer = peer
    self.times = times
    self.turnedAway = turnedAway
  }

  func handlerAdded(context: ChannelHandlerContext) { self.context = context }

  func channelActive(context: ChannelHandlerContext) {
    arm(times.headerNs)
    context.fireChannelActive()
  }

  func channelInactive(context: ChannelHandlerContext) {
    timer?.cancel()
    delivery?.cancel()
    delivery = nil
    lease = nil
    endCompression()
    self.context = nil
    context.fireChannelInactive()
  }

  func handlerRemoved(context: ChannelHandlerContext) {
    timer?.cancel()
    delivery?.cancel()
    endCompression()
    self.context = nil
  }

  // MARK: Receiving

  /// From the meter in front of the decoder, before the decoder has them.
  func bytesArrive() {
    guard phase == .idle, !isClosing else { return }
    phase = .head
    if !isAnswering { arm(times.headerNs) }
  }

  /// False: no more may be fed to the decoder.
  var isReceiving: Bool { lastWord == nil }

  /// A head that is not complete is too long already, or one that is.
  func refuse(_ excess: Refusal) {
    end(with: excess == .targetTooLong ? Self.targetTooLong : Self.headTooLarge, excess)
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    guard lastWord == nil, !isClosing else { return }
    switch unwrapInboundIn(data) {
    case .head(let head): began(head)
    case .body(let bytes):
      owesContinue = false
      bodyBytes += bytes.readableBytes
      if bodyBytes > Limits.bodyBytesMax { return end(with: Self.bodyTooLarge, .bodyTooLarge) }
      // Others that come with one are read past it.
      if receiving?.method == .POST { body += bytes.readableBytesView }
    case .end:
      owesContinue = false
      guard let head = receiving else { return }
      receiving = nil
      // What follows in the same read is a head of its own.
      phase = .idle
      if !isAnswering { timer?.cancel() }
      queue.append((head, body))
      body = []
      answerNext()
    }
  }

  private func began(_ head: HTTPRequestHead) {
    phase = .body
    bodyBytes = 0
    body = []
    receiving = head
    let size = head.headers.reduce(head.uri.utf8.count) { $0 + $1.name.utf8.count + $1.value.utf8.count + 4 }
    if head.uri.utf8.count > Limits.targetBytesMax { return refuse(.targetTooLong) }
    if size > Limits.headerBytesMax { return refuse(.headTooLarge) }
    if let length = head.headers.first(name: "content-length").flatMap({ Int($0) }), length > Limits.bodyBytesMax {
      return end(with: Self.bodyTooLarge, .bodyTooLarge)
    }
    if !isAnswering { arm(times.headerNs) }
    owesContinue =
      head.version.minor > 0 && head.headers[canonicalForm: "expect"].contains { $0.lowercased() == "100-continue" }
    sayContinue()
  }

  /// Not between the answers to what came before.
  private func sayContinue() {
    guard owesContinue, !isAnswering, queue.isEmpty, lastWord == nil, !isClosing, let context else { return }
    owesContinue = false
    context.writeAndFlush(wrapOutboundOut(.head(HTTPResponseHead(version: .http1_1, status: .continue))), promise: nil)
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    switch error {
    case NIOSSLError.handshakeFailed(let reason):
      desk.refusals.note(.handshake, peer: peer, detail: TLSWords.of("\(reason)"), at: desk.now())
      context.close(promise: nil)
    case HTTPParserError.headerOverflow: refuse(.headTooLarge)
    case HTTPParserError.invalidVersion:
      end(with: .problem(.httpVersionNotSupported, "send HTTP/1.1, each line ended by CR LF"), .notHTTP)
    case is HTTPParserError:
      end(with: .problem(.badRequest, "this is not HTTP/1.1; check what speaks to this port"), .notHTTP)
    default: context.close(promise: nil)
    }
  }

  /// No read while many requests wait: what the client sends stays in its own buffers.
  func read(context: ChannelHandlerContext) {
    if queue.count >= Limits.requestsWaitingMax { wantsRead = true } else { context.read() }
  }

  static let targetTooLong = PullAnswer.problem(
    .uriTooLong,
    "the request's target (path and parameters) may have \(Limits.targetBytesMax) bytes; nothing here needs a long one")
  static let headTooLarge = PullAnswer.problem(
    .requestHeaderFieldsTooLarge,
    "the request's head may have \(Limits.headerBytesMax) bytes; send fewer or shorter headers")
  static let bodyTooLarge = PullAnswer.problem(
    .payloadTooLarge, "a request's body may have \(Limits.bodyBytesMax) bytes; nothing here needs a long one")

  // MARK: Answering

  private func end(with answer: PullAnswer, _ refusal: Refusal) {
    guard lastWord == nil, !isClosing else { return }
    desk.refusals.note(refusal, peer: peer, at: desk.now())
    lastWord = answer.closing
    receiving = nil
    if !isAnswering { answerNext() }
  }

  private func answerNext() {
    guard !isAnswering, !isClosing, context != nil else { return }
    guard let (head, body) = queue.popFirst() else {
      if let lastWord { write(lastWord, to: nil) } else { sayContinue() }
      return
    }
    isAnswering = true
    timer?.cancel()
    if let turnedAway { return write(turnedAway.closing, to: head) }
    do throws(PullRefusal) {
      let request = try PullRequest(head, body: body, peer: peer)
      // Answered already when it comes back: then there is nothing to cancel.
      var isAnswered = false
      let delivery = desk.answer(request, proven: proven) { answer in
        isAnswered = true
        self.delivery = nil
        self.write(answer, to: head)
      }
      if !isAnswered { self.delivery = delivery }
    } catch {
      write(error.answer, to: head)
    }
  }

  private func write(_ answer: PullAnswer, to request: HTTPRequestHead?) {
    guard let context, !isClosing else { return }
    isAnswering = true
    desk.traffic.answered(answer.status.code)
    // An upgrade or a tunnel ends what the decoder understands.
    let leavesHTTP = request.map { $0.method == .CONNECT || $0.headers.contains(name: "upgrade") } ?? true
    let closes = answer.closes || leavesHTTP || desk.isStopping || !(request?.isKeepAlive ?? false)
    isClosing = closes
    var head = HTTPResponseHead(version: .http1_1, status: answer.status)
    for header in answer.headers { head.headers.add(name: header.name, value: header.value) }
    if !answer.contentType.isEmpty { head.headers.add(name: "Content-Type", value: answer.contentType) }
    beginCompression(of: answer, for: request)
    if gzip != nil {
      head.headers.add(name: "Content-Encoding", value: "gzip")
    } else if answer.status != .noContent {
      head.headers.add(name: "Content-Length", value: "\(answer.body.count)")
    }
    if answer.body.count >= Limits.compressBytesMin { head.headers.add(name: "Vary", value: "Accept-Encoding") }
    head.headers.add(name: "Cache-Control", value: "no-store")
    if closes {
      head.headers.add(name: "Connection", value: "close")
    } else if request?.version.minor == 0 {
      head.headers.add(name: "Connection", value: "keep-alive")
    }
    arm(times.idleNs)
    context.write(wrapOutboundOut(.head(head)), promise: nil)
    if gzip != nil {
      lease = answer.lease
      return writeCompressed(answer.body[...])
    }
    if request?.method == .HEAD || answer.body.isEmpty { return writeEnd(context) }
    lease = answer.lease
    writeBody(answer.body[...])
  }

  /// The next piece when the one before is with the kernel: so a connection holds one beside the body.
  private func writeBody(_ rest: ArraySlice<UInt8>) {
    guard let context else { return }
    let piece = rest.prefix(Limits.answerPieceBytes)
    let left = rest.dropFirst(piece.count)
    let bytes = wrapOutboundOut(.body(.byteBuffer(context.channel.allocator.buffer(bytes: piece))))
    if left.isEmpty {
      context.write(bytes, promise: nil)
      return writeEnd(context)
    }
    let written = context.eventLoop.makePromise(of: Void.self)
    written.futureResult.assumeIsolated().whenSuccess { _ in
      self.arm(self.times.idleNs)
      self.writeBody(left)
    }
    context.writeAndFlush(bytes, promise: written)
  }

  private func writeEnd(_ context: ChannelHandlerContext) {
    let written = context.eventLoop.makePromise(of: Void.self)
    written.futureResult.assumeIsolated().whenComplete { _ in self.wrote() }
    context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: written)
  }

  // MARK: Compression

  /// Only for who asks for it, only where it gains something, and not for too many at once.
  private func beginCompression(of answer: PullAnswer, for request: HTTPRequestHead?) {
    guard let request, request.method != .HEAD, request.version == .http1_1, answer.status == .ok,
      answer.body.count >= Limits.compressBytesMin, desk.compressions < Limits.compressionsMax,
      MediaType.takesGzip(request.headers[canonicalForm: "accept-encoding"])
    else { return }
    gzip = GzipStream()
    if gzip != nil { desk.compressions += 1 }
  }

  private func endCompression() {
    guard gzip != nil else { return }
    gzip = nil
    desk.compressions -= 1
  }

  /// A piece each turn of the loop: others have theirs between.
  private func writeCompressed(_ rest: ArraySlice<UInt8>) {
    guard let context, let gzip else { return }
    let piece = rest.prefix(Limits.compressBytesPerTurn)
    let left = rest.dropFirst(piece.count)
    let allocator = context.channel.allocator
    guard let bytes = gzip.compressed(piece, isLast: left.isEmpty, allocator: allocator) else {
      return context.close(promise: nil)
    }
    if bytes.readableBytes > 0 { context.write(wrapOutboundOut(.body(.byteBuffer(bytes))), promise: nil) }
    if left.isEmpty {
      endCompression()
      return writeEnd(context)
    }
    context.eventLoop.assumeIsolated().execute { self.writeCompressed(left) }
  }

  private func wrote() {
    guard let context else { return }
    isAnswering = false
    lease = nil
    if isClosing {
      // The client may still be sending: closing at once would throw our answer away with its bytes. So: say the
      // end, then wait for its.
      arm(times.farewellNs)
      context.close(mode: .output, promise: nil)
      return
    }
    if queue.isEmpty, lastWord == nil { arm(phase == .idle ? times.idleNs : times.headerNs) }
    if wantsRead, queue.count < Limits.requestsWaitingMax {
      wantsRead = false
      context.read()
    }
    answerNext()
  }

  /// The server stops. A connection with nothing to answer ends now, another one with its answer.
  func farewell() {
    if !isAnswering, queue.isEmpty { context?.close(promise: nil) }
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if event is FarewellEvent { farewell() } else { context.fireUserInboundEventTriggered(event) }
  }

  // MARK: Time

  private func arm(_ spanNs: Int64) {
    timer?.cancel()
    guard let context else { return }
    timer = context.eventLoop.assumeIsolated().scheduleTask(in: .nanoseconds(spanNs)) { self.timeIsOver() }
  }

  private func timeIsOver() {
    guard let context else { return }
    if phase == .idle || isAnswering || isClosing { return context.close(promise: nil) }
    end(
      with: .problem(
        .requestTimeout, "the request was not complete within \(times.headerNs / 1_000_000) ms; send it again"),
      .tooSlow)
  }
}

/// Told to every connection when the server stops.
struct FarewellEvent: Sendable {}
