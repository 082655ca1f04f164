// One HTTP/1.1 connection to a pull API, for the demo's platform: a request, then its answer, then the next. The
// calling thread waits; NIO's loop does the work.
//
// Invariant: at most one request is on its way.

import Gateway
import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization

struct PullReply: Sendable {
  var status: Int
  var body: [UInt8]
  /// Of `status` 200: the body as JSON.
  var json: JSONValue? { try? JSONParser.parse(body) }
}

enum PullFailure: Error {
  /// Nobody listens there (yet), or the connection ended before the answer: connect again.
  case noAnswer(String)
}

final class PullConnection: Sendable {
  private let host: String
  private let port: Int
  private let token: String
  private let channel = Mutex<(any Channel)?>(nil)

  init(host: String, port: Int, token: String) {
    self.host = host
    self.port = port
    self.token = token
  }

  /// `path` with its query. Connects if need be. `withinSeconds`: then nobody answers any more.
  func get(_ path: String, withinSeconds: Int64) throws(PullFailure) -> PullReply {
    try ask(.GET, path, [], withinSeconds: withinSeconds)
  }

  func post(_ path: String, _ body: [UInt8], withinSeconds: Int64) throws(PullFailure) -> PullReply {
    try ask(.POST, path, body, withinSeconds: withinSeconds)
  }

  private func ask(
    _ method: HTTPMethod, _ path: String, _ body: [UInt8], withinSeconds: Int64
  ) throws(PullFailure) -> PullReply {
    do {
      let channel = try connected()
      var head = HTTPRequestHead(version: .http1_1, method: method, uri: path)
      if method == .POST { head.headers.add(name: "Content-Length", value: "\(body.count)") }
      head.headers.add(name: "Host", value: "\(host):\(port)")
      head.headers.add(name: "Authorization", value: "Bearer \(token)")
      head.headers.add(name: "Accept", value: "application/json")
      let promise = channel.eventLoop.makePromise(of: PullReply.self)
      channel.writeAndFlush(PullExchange(head: head, body: body, reply: promise)).cascadeFailure(to: promise)
      let deadline = channel.eventLoop.scheduleTask(in: .seconds(withinSeconds)) {
        promise.fail(ChannelError.connectTimeout(.seconds(withinSeconds)))
      }
      defer { deadline.cancel() }
      return try promise.futureResult.wait()
    } catch {
      close()
      throw .noAnswer("\(error)")
    }
  }

  /// Also ends a request that waits for its answer. Any thread.
  func close() {
    let open = channel.withLock { slot in
      let open = slot
      slot = nil
      return open
    }
    open?.close(promise: nil)
  }

  private func connected() throws -> any Channel {
    if let open = channel.withLock({ $0 }), open.isActive { return open }
    let fresh = try ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .connectTimeout(.seconds(2))
      .channelOption(.tcpOption(.tcp_nodelay), value: 1)
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.addHTTPClientHandlers()
          try channel.pipeline.syncOperations.addHandler(ReplyCollector())
        }
      }
      .connect(host: host, port: port).wait()
    channel.withLock { $0 = fresh }
    return fresh
  }
}

private struct PullExchange: Sendable {
  var head: HTTPRequestHead
  var body: [UInt8]
  var reply: EventLoopPromise<PullReply>
}

/// Sends a request's parts, and puts its answer's together. Lives on its channel's loop.
private final class ReplyCollector: ChannelDuplexHandler {
  typealias InboundIn = HTTPClientResponsePart
  typealias OutboundIn = PullExchange
  typealias OutboundOut = HTTPClientRequestPart

  private var waiting: EventLoopPromise<PullReply>?
  private var reply = PullReply(status: 0, body: [])

  func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    let exchange = unwrapOutboundIn(data)
    waiting = exchange.reply
    reply = PullReply(status: 0, body: [])
    context.write(wrapOutboundOut(.head(exchange.head)), promise: nil)
    if !exchange.body.isEmpty {
      context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(bytes: exchange.body)))), promise: nil)
    }
    context.write(wrapOutboundOut(.end(nil)), promise: promise)
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch unwrapInboundIn(data) {
    case .head(let head): reply.status = Int(head.status.code)
    case .body(let part): reply.body += part.readableBytesView
    case .end:
      waiting?.succeed(reply)
      waiting = nil
    }
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    fail(error)
    context.close(promise: nil)
  }

  func channelInactive(context: ChannelHandlerContext) {
    fail(ChannelError.eof)
    context.fireChannelInactive()
  }

  private func fail(_ error: any Error) {
    waiting?.fail(error)
    waiting = nil
  }
}
