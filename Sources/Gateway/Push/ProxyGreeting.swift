// Asks an HTTP proxy for a tunnel (CONNECT, RFC 9110, section 9.3.6), and leaves when it has one. A handler for the
// beginning of a connection; lives on the event loop.
//
// Invariant: it answers once; nothing that the proxy sends behind its answer is taken for the platform's.

import NIOCore
import StreamCore

final class ProxyGreeting: ChannelInboundHandler, RemovableChannelHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  private let authority: String
  private let authorization: String?
  private var completion: ((PushFailure?) -> Void)?
  private var context: ChannelHandlerContext?
  private var received: [UInt8] = []

  init(authority: String, authorization: String?, completion: @escaping (PushFailure?) -> Void) {
    self.authority = authority
    self.authorization = authorization
    self.completion = completion
  }

  func handlerAdded(context: ChannelHandlerContext) { self.context = context }
  func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

  func begin() {
    guard let context else { return }
    let login = authorization.map { "Proxy-Authorization: \($0)\r\n" } ?? ""
    let text = "CONNECT \(authority) HTTP/1.1\r\nHost: \(authority)\r\n\(login)\r\n"
    context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: text)), promise: nil)
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    guard completion != nil else { return }
    received += unwrapInboundIn(data).readableBytesView
    guard let end = received.firstRange(of: Array("\r\n\r\n".utf8)) else {
      if received.count > Limits.proxyHeadBytesMax {
        finish(.garbled("the proxy's answer has no end"))
      }
      return
    }
    let words = received.prefix { $0 != 0x0D }.split(separator: 0x20, maxSplits: 2)
    guard words.count >= 2, words[0].starts(with: "HTTP/1.".utf8),
      let status = UInt(String(decoding: words[1], as: UTF8.self))
    else { return finish(.garbled("what answers at `proxy` is no HTTP proxy")) }
    guard (200..<300).contains(status) else {
      let isLocked = status == 407
      return finish(
        isLocked
          ? .refused("407: \(PushFailure.proxyLogin)")
          : .unreachable("the proxy answered \(status) to CONNECT \(authority)"))
    }
    guard end.upperBound == received.count else {
      return finish(.garbled("the proxy speaks before the platform is asked"))
    }
    let completion = completion
    self.completion = nil
    context.pipeline.syncOperations.removeHandler(self).assumeIsolated().whenComplete { _ in
      completion?(nil)
    }
  }

  func channelInactive(context: ChannelHandlerContext) {
    finish(.unreachable("the proxy closed the connection"))
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    finish(.unreachable("the proxy: \(error)"))
  }

  private func finish(_ failure: PushFailure) {
    let completion = completion
    self.completion = nil
    context?.close(promise: nil)
    completion?(failure)
  }
}
