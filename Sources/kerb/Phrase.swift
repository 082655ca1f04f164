// A sentence in both languages, with `{0}`, `{1}`… to be filled in. For what one command alone says; what several say
// stands in `Messages`.

struct Phrase: Equatable {
  let en: String
  let zh: String

  init(_ en: String, _ zh: String) {
    self.en = en
    self.zh = zh
  }

  func text(_ values: [String] = [], in language: Language = .current) -> String {
    Messages.filled(language == .chinese ? zh : en, values)
  }

  func callAsFunction(_ values: String...) -> String { text(values) }
}
