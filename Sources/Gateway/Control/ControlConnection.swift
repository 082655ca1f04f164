// One peer at the control socket: takes lines apart, has them answered in turn. Lives on the event loop.

import NIOCore
import StreamCore

final class ControlConnection: ChannelDuplexHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  private let desk: ControlDesk
  private var context: ChannelHandlerContext?
  private var access = ControlAccess.none
  /// Bytes of lines that are not answered yet.
  private var received: [UInt8] = []
  private var refusal: [UInt8]?
  private var isAnswering = false
  private var isClosing = false
  private var wantsRead = false
  private var silence: Scheduled<Void>?

  init(desk: ControlDesk) { self.desk = desk }

  func handlerAdded(context: ChannelHandlerContext) { self.context = context }

  func handlerRemoved(context: ChannelHandlerContext) {
    silence?.cancel()
    self.context = nil
  }

  func channelActive(context: ChannelHandlerContext) {
    arm()
    answerNext()
    context.fireChannelActive()
  }

  /// A peer that says nothing must not keep its place for ever.
  private func arm() {
    silence?.cancel()
    silence = context?.eventLoop.assumeIsolated().scheduleTask(in: .nanoseconds(Limits.idleNsMax)) {
      self.context?.close(promise: nil)
    }
  }

  func admit(_ access: ControlAccess) {
    self.access = access
    answerNext()
  }

  /// Says why, then closes.
  func refuse(_ code: String, _ message: String) {
    refusal = ControlDesk.error(code, message)
    answerNext()
  }

  /// While an answer is due, at most one line's worth is taken in.
  func read(context: ChannelHandlerContext) {
    if isAnswering, received.count > Limits.controlLineBytesMax { wantsRead = true } else { context.read() }
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    if isClosing { return }
    received += unwrapInboundIn(data).readableBytesView
    answerNext()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

  private func answerNext() {
    guard !isAnswering, !isClosing, let context, context.channel.isActive else { return }
    if let refusal { return write(refusal, closes: true) }
    guard access != .none else { return }
    guard let end = received.firstIndex(of: 0x0A) else {
      if received.count > Limits.controlLineBytesMax { tooLong() }
      return
    }
    if end > Limits.controlLineBytesMax { return tooLong() }
    let line = Array(received[..<end])
    received.removeSubrange(...end)
    isAnswering = true
    arm()
    desk.answer(line, access: access) { self.write($0, closes: false) }
  }

  private func tooLong() {
    write(
      ControlDesk.error("too_long", "a line may have \(Limits.controlLineBytesMax) bytes; one request is one line"),
      closes: true)
  }

  private func write(_ answer: [UInt8], closes: Bool) {
    guard let context, !isClosing else { return }
    isClosing = closes
    let written = context.eventLoop.makePromise(of: Void.self)
    written.futureResult.assumeIsolated().whenComplete { _ in
      self.isAnswering = false
      if closes { self.context?.close(promise: nil) }
    }
    context.writeAndFlush(wrapOutboundOut(ByteBuffer(bytes: answer + [0x0A])), promise: written)
    if closes { return }
    isAnswering = false
    if wantsRead, received.count <= Limits.controlLineBytesMax {
      wantsRead = false
      context.read()
    }
    // Not from within: many short lines would go deep.
    context.eventLoop.assumeIsolated().execute { self.answerNext() }
  }
}
