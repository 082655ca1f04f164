// What the records of a series have in common, as bytes made once for a catalogue and a format: everything but the time
// and the number. So a record costs three copies and two numbers, and allocates nothing. Lives on the event loop.
//
//   {"n":"box/cover-1/tilt","t":  1795212000.25  ,"v":  3.4  ,"u":"deg","q":"good"}
//   head                          time           mid    value tail
//
// Invariants:
//  1. A record is the same, number for number, as `RecordWriter` writes it; what is not simple is left to that one.
//  2. The forms take at most `Limits.recordFormsBytesMax`; series for which there is no room are not simple.

import Store
import StreamCore

final class RecordForms {
  private enum Kind: UInt8 {
    /// A text, a pseudonym, a named value, a u64: `RecordWriter` writes it.
    case other
    case bool, integer, decimal, float, double
  }

  /// Of one series.
  private struct Form {
    var start: UInt32 = 0
    var headBytes: UInt16 = 0
    var midBytes: UInt8 = 0
    var kind = Kind.other
    var tailBytes: UInt16 = 0
    /// value = (raw × multiplier + addend) / 10^places, exactly.
    var places: UInt8 = 0
    var multiplier: Int64 = 1
    var addend: Int64 = 0
    var scale = 1.0
    var offset = 0.0
  }

  private let isCBOR: Bool
  private let forms: [Form]
  private let bytes: [UInt8]
  private let scratch: UnsafeMutablePointer<UInt8>
  private let recordBytesMax: Int

  /// What they take for a catalogue.
  static func bytes(of catalogue: Catalogue) -> Int {
    let whole = catalogue.series.reduce(0) { sum, series in
      let name = catalogue.devices[series.device].name.utf8.count + series.point.utf8.count
      let constant = MemoryLayout<Form>.stride + 64 + catalogue.gatewayID.utf8.count
      return sum + constant + name + (series.unit?.utf8.count ?? 0)
    }
    return min(whole, Limits.recordFormsBytesMax)
  }

  init(_ catalogue: Catalogue, isCBOR: Bool) {
    self.isCBOR = isCBOR
    let writer = RecordWriter(
      catalogue: catalogue, timeline: Timeline(epoch: 0, now: .zero, clocks: []), pseudonymKey: nil)
    var longest = 0
    var forms: [Form] = []
    var bytes: [UInt8] = []
    forms.reserveCapacity(catalogue.series.count)
    for series in catalogue.series {
      var form = Self.form(series)
      let used = bytes.count + (forms.count + 1) * MemoryLayout<Form>.stride
      if form.kind != .other, used + 512 <= Limits.recordFormsBytesMax {
        form.start = UInt32(bytes.count)
        bytes +=
          isCBOR
          ? Self.fill(&form, series, writer, CBORWriter.self) : Self.fill(&form, series, writer, JSONWriter.self)
        longest = max(longest, Int(form.headBytes) + Int(form.midBytes) + Int(form.tailBytes))
      } else {
        form.kind = .other
      }
      forms.append(form)
    }
    self.forms = forms
    self.bytes = bytes
    recordBytesMax = longest + 2 * BytePen.numberBytesMax + 1
    scratch = .allocate(capacity: recordBytesMax * Limits.recordsPerBatchMax)
  }

  deinit { scratch.deallocate() }

  // MARK: Made once

  private static func form(_ series: CatalogueSeries) -> Form {
    var form = Form()
    form.scale = series.scale
    form.offset = series.offset
    guard series.values.isEmpty, !series.encoding.hasText, series.encoding != .unsigned else { return form }
    if series.isBool {
      form.kind = .bool
    } else if series.encoding == .float {
      form.kind = .float
    } else if series.encoding == .double {
      form.kind = .double
    } else if series.scale == 1, series.offset == 0 {
      form.kind = .integer
    } else if let decimal = DecimalScale(series.scale, series.offset) {
      form.kind = .decimal
      form.multiplier = decimal.multiplier
      form.addend = decimal.addend
      form.places = UInt8(decimal.places)
    }
    return form
  }

  /// Head, mid and tail of a record that is good.
  private static func fill<Output: RecordOutput>(
    _ form: inout Form, _ series: CatalogueSeries, _ writer: RecordWriter, _: Output.Type
  ) -> [UInt8] {
    var output = Output(reservingCapacity: 256)
    var cuts: [Int] = []
    output.object {
      writer.writeName(series, into: &$0)
      $0.key("t")
      cuts.append($0.count)
      // One byte, in both formats.
      $0.seconds(milliseconds: 0)
      cuts.append($0.count)
      $0.key(series.isBool ? "vb" : "v")
      cuts.append($0.count)
      $0.integer(0)
      cuts.append($0.count)
      writer.writeRest(series, quality: .good, into: &$0)
    }
    form.headBytes = UInt16(cuts[0])
    form.midBytes = UInt8(cuts[2] - cuts[1])
    form.tailBytes = UInt16(output.count - cuts[3])
    return Array(output.bytes[..<cuts[0]] + output.bytes[cuts[1]..<cuts[2]] + output.bytes[cuts[3]...])
  }

  // MARK: Written a million times

  /// Where the records of one batch stand, until the next call.
  var written: UnsafeBufferPointer<UInt8> { UnsafeBufferPointer(start: scratch, count: writtenBytes) }
  private var writtenBytes = 0

  /// At most this many bytes for a batch.
  var batchBytesMax: Int { recordBytesMax * Limits.recordsPerBatchMax }

  /// Writes those of `samples` (at most `recordsPerBatchMax`) that `scope` allows, commas between them. The answer: how
  /// many; nil: one of them is not simple, and nothing is written. `offsetNs`: from their clock to Unix time.
  func write(_ samples: ArraySlice<Sample>, offsetNs: Int64, _ scope: Scope) -> Int? {
    var pen = BytePen(scratch)
    var count = 0
    let isDone = bytes.withUnsafeBufferPointer { bytes -> Bool in
      guard let blob = bytes.baseAddress else { return samples.isEmpty }
      for sample in samples {
        let number = Int(sample.series)
        guard scope.allows(series: number) else { continue }
        guard number < forms.count, sample.quality == .good, forms[number].kind != .other else { return false }
        if count > 0, !isCBOR { pen.put(UInt8(ascii: ",")) }
        guard write(sample, forms[number], blob, offsetNs, &pen) else { return false }
        count += 1
      }
      return true
    }
    writtenBytes = pen.at - scratch
    return isDone ? count : nil
  }

  @inline(__always)
  private func write(
    _ sample: Sample, _ form: Form, _ blob: UnsafePointer<UInt8>, _ offsetNs: Int64, _ pen: inout BytePen
  ) -> Bool {
    let start = blob + Int(form.start)
    pen.put(start, Int(form.headBytes))
    let ms = Timeline.unixMs((sample.at + offsetNs).nanoseconds)
    if isCBOR {
      if ms % 1_000 == 0 { pen.cbor(ms / 1_000) } else { pen.cbor(Double(ms) / 1_000) }
    } else {
      pen.decimal(ms, places: 3)
    }
    let head = Int(form.headBytes)
    let mid = Int(form.midBytes)
    pen.put(start + head, mid)
    guard value(sample.raw, form, &pen) else { return false }
    pen.put(start + head + mid, Int(form.tailBytes))
    return true
  }

  @inline(__always)
  private func value(_ raw: Int64, _ form: Form, _ pen: inout BytePen) -> Bool {
    switch form.kind {
    case .bool:
      if isCBOR {
        pen.put(raw != 0 ? 0xF5 : 0xF4)
      } else if raw != 0 {
        pen.put(Self.yes.utf8Start, 4)
      } else {
        pen.put(Self.no.utf8Start, 5)
      }
    case .integer: if isCBOR { pen.cbor(raw) } else { pen.integer(raw) }
    case .decimal:
      let (product, isOver) = raw.multipliedReportingOverflow(by: form.multiplier)
      let (sum, isOver2) = product.addingReportingOverflow(form.addend)
      // Up to fifteen digits a decimal and its nearest double are the same to everybody.
      guard !isOver, !isOver2, sum.magnitude < 1_000_000_000_000_000 else { return false }
      if isCBOR {
        pen.cbor(Double(sum) / DecimalScale.powers[Int(form.places)])
      } else {
        pen.decimal(sum, places: Int(form.places))
      }
    case .float:
      let value = Float(Encoding.float.value(raw: raw, scale: form.scale, offset: form.offset))
      guard value.isFinite else { return false }
      if isCBOR { pen.cbor(Double(value)) } else { pen.number(value.description) }
    case .double:
      let value = Encoding.double.value(raw: raw, scale: form.scale, offset: form.offset)
      guard value.isFinite else { return false }
      if isCBOR { pen.cbor(value) } else { pen.number(value.description) }
    case .other: return false
    }
    return true
  }

  private static let yes: StaticString = "true"
  private static let no: StaticString = "false"
}

/// A scale and an offset that are decimals of at most nine places: value = (raw × multiplier + addend) / 10^places.
struct DecimalScale {
  let multiplier: Int64
  let addend: Int64
  let places: Int

  static let powers: [Double] = [1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9]

  /// Nil: they are no such decimals.
  init?(_ scale: Double, _ offset: Double) {
    for (places, power) in Self.powers.enumerated() {
      let multiplier = (scale * power).rounded()
      let addend = (offset * power).rounded()
      guard multiplier / power == scale, addend / power == offset else { continue }
      guard abs(multiplier) < 9e15, abs(addend) < 9e15 else { return nil }
      self.multiplier = Int64(multiplier)
      self.addend = Int64(addend)
      self.places = places
      return
    }
    return nil
  }
}
