// One connection of an HTTP push: writes a request, reads its answer, says what became of it. A handler at the end of
// the channel's pipeline; lives on the event loop.
//
// Invariants:
//  1. A body counts as delivered only when a 2xx answer has come to its end.
//  2. An answer's body is thrown away, up to `Limits.pushAnswerBytesMax`; of a refusal the beginning is kept for a
//     person.
//  3. It says `failed` or `closed` at most once, and nothing after it.

import NIOCore
import NIOHTTP1
import NIOSSL
import NIOTLS
import StreamCore

final class HTTPSession: ChannelInboundHandler {
  typealias InboundIn = HTTPClientResponsePart
  typealias OutboundOut = HTTPClientRequestPart

  enum Event {
    case secured
    case answered(Int, PushFailure?)
    case failed(PushFailure)
    case closed
  }

  private let clock: PushClock
  private var tell: ((Event) -> Void)?
  private var context: ChannelHandlerContext?
  private var isSecure: Bool
  /// The body that waits for its answer.
  private var number: Int?
  private var head: HTTPResponseHead?
  private var answerBytes = 0
  private var reason: [UInt8] = []

  init(waitsForTLS: Bool, clock: PushClock, tell: @escaping (Event) -> Void) {
    isSecure = !waitsForTLS
    self.clock = clock
    self.tell = tell
  }

  func handlerAdded(context: ChannelHandlerContext) { self.context = context }
  func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

  func send(_ head: HTTPRequestHead, _ parcel: PushParcel) {
    guard let context, context.channel.isActive else { return }
    number = parcel.number
    self.head = nil
    answerBytes = 0
    reason = []
    context.write(wrapOutboundOut(.head(head)), promise: nil)
    context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(bytes: parcel.body)))), promise: nil)
    context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch unwrapInboundIn(data) {
    case .head(let head):
      guard number != nil else { return end(.failed(.garbled("an answer that nobody asked for"))) }
      self.head = head
    case .body(let bytes):
      answerBytes += bytes.readableBytes
      if answerBytes > Limits.pushAnswerBytesMax {
        return end(.failed(.garbled("an answer without an end")))
      }
      reason += bytes.readableBytesView.prefix(Limits.pushReasonBytesMax - reason.count)
    case .end: answered()
    }
  }

  private func answered() {
    guard let head, let number else { return }
    self.number = nil
    self.head = nil
    let nowUnix = clock.isBelieved() ? clock.unixNow() : nil
    let after = head.headers.first(name: "retry-after").flatMap {
      RetryAfter.ns($0, nowUnix: nowUnix)
    }
    let why = PushFailure.of(
      status: head.status.code, afterNs: after,
      location: PushText.printable(
        head.headers.first(name: "location").map { Array($0.utf8) } ?? []),
      reason: PushText.printable(reason))
    tell?(.answered(number, why))
    if !head.isKeepAlive { end(.closed) }
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if case TLSUserEvent.handshakeCompleted? = event as? TLSUserEvent {
      isSecure = true
      tell?(.secured)
    }
    context.fireUserInboundEventTriggered(event)
  }

  func channelInactive(context: ChannelHandlerContext) {
    if !isSecure {
      return end(
        .failed(.unreachable("the connection was closed in the middle of the TLS handshake")))
    }
    if head != nil { return end(.failed(.garbled("an answer that broke off"))) }
    end(.closed)
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    if error is HTTPParserError { return end(.failed(.garbled("no HTTP (\(error))"))) }
    // TLS without its farewell: what came was whole, or `channelInactive` says that it was not.
    if case .uncleanShutdown? = error as? NIOSSLError { return context.close(promise: nil) }
    // A reset while nothing was asked is a close; while something was, the machine must hear which.
    if isSecure, head == nil, error is IOError { return end(.closed) }
    end(.failed(.unreachable(PushText.of(error, clock: clock))))
  }

  private func end(_ event: Event) {
    let tell = tell
    self.tell = nil
    context?.close(promise: nil)
    tell?(event)
  }
}
