#include "CToml.h"

#include <cstring>
#include <deque>
#include <sstream>
#include <string>
#include <vector>

#ifdef NDEBUG
#error "toml++ then takes what it asserts for true, and a wrong file is undefined behaviour"
#endif

// What toml++ believes of a text and does not find is a mistake of the file, and no reason to end the program. One
// such belief is wrong itself: a [header] may begin with anything, which the lines behind the assertion refuse with its
// place.
struct kerb_disbelief {};
static void kerb_disbelieved(const char *belief) {
  if (std::strcmp(belief, "is_bare_key_character(*cp) || is_string_delimiter(*cp)") == 0) return;
  throw kerb_disbelief{};
}
#define TOML_ASSERT(...) ((__VA_ARGS__) ? void() : kerb_disbelieved(#__VA_ARGS__))

#include <toml++/toml.h>

struct kerb_toml_document {
  std::vector<kerb_toml_node> nodes;
  std::deque<std::string> strings; // a deque never moves its elements
  std::string error;
  uint32_t error_line = 0, error_column = 0;

  kerb_toml_text keep(std::string_view text) {
    strings.emplace_back(text);
    return {strings.back().data(), strings.back().size()};
  }

  // Recurses by level, as toml++ itself does: who calls has bounded the levels (kerb_toml_parse).
  void add(const toml::node &node, int32_t parent, const toml::key *key) {
    kerb_toml_node flat{};
    flat.parent = parent;
    flat.line = node.source().begin.line;
    flat.column = node.source().begin.column;
    flat.key_line = flat.line;
    flat.key_column = flat.column;
    if (key) {
      flat.key = keep(key->str());
      if (key->source().begin.line) {
        flat.key_line = key->source().begin.line;
        flat.key_column = key->source().begin.column;
      }
    }
    const auto index = static_cast<int32_t>(nodes.size());
    if (auto *table = node.as_table()) {
      flat.kind = KERB_TOML_TABLE;
      nodes.push_back(flat);
      for (auto &&[member, value] : *table) add(value, index, &member);
      return;
    }
    if (auto *array = node.as_array()) {
      flat.kind = KERB_TOML_ARRAY;
      nodes.push_back(flat);
      for (auto &value : *array) add(value, index, nullptr);
      return;
    }
    if (auto *text = node.as_string()) {
      flat.kind = KERB_TOML_STRING;
      flat.string = keep(text->get());
    } else if (auto *integer = node.as_integer()) {
      flat.kind = KERB_TOML_INTEGER;
      flat.integer = integer->get();
    } else if (auto *number = node.as_floating_point()) {
      flat.kind = KERB_TOML_FLOAT;
      flat.number = number->get();
    } else if (auto *boolean = node.as_boolean()) {
      flat.kind = KERB_TOML_BOOL;
      flat.boolean = boolean->get();
    } else {
      flat.kind = KERB_TOML_DATE;
      std::ostringstream text;
      node.visit([&](auto &&value) { text << value; });
      flat.string = keep(text.str());
    }
    nodes.push_back(flat);
  }
};

static bool disbelieves(std::string_view text) {
  try {
    static_cast<void>(toml::parse(text));
  } catch (const kerb_disbelief &) {
    return true;
  } catch (const std::exception &) {
  }
  return false;
}

// Disbelief knows no place: it is the end of the shortest beginning that is met with it. `text` as a whole is.
static size_t disbelieved_at(std::string_view text) {
  size_t believed = 0, disbelieved = text.size();
  const auto is_inside = [&](size_t at) { return at < text.size() && (text[at] & 0xC0) == 0x80; };
  while (disbelieved - believed > 1) {
    size_t middle = believed + (disbelieved - believed) / 2;
    while (middle > believed && is_inside(middle)) middle--;
    if (middle == believed) break;
    (disbelieves(text.substr(0, middle)) ? disbelieved : believed) = middle;
  }
  return believed;
}

kerb_toml_document *kerb_toml_parse(const char *text, size_t length) {
  auto *document = new kerb_toml_document;
  try {
    const toml::table root = toml::parse(std::string_view(text, length));
    document->add(root, -1, nullptr);
  } catch (const toml::parse_error &failure) {
    document->error = std::string(failure.description());
    document->error_line = failure.source().begin.line;
    document->error_column = failure.source().begin.column;
  } catch (const kerb_disbelief &) {
    document->error = "unexpected character";
    document->error_line = document->error_column = 1;
    const std::string_view whole(text, length);
    for (const char each : whole.substr(0, disbelieved_at(whole))) {
      if (each == '\n') {
        document->error_line++;
        document->error_column = 1;
      } else if ((each & 0xC0) != 0x80) {
        document->error_column++;
      }
    }
  } catch (const std::exception &failure) {
    document->error = failure.what();
  }
  return document;
}

void kerb_toml_free(kerb_toml_document *document) { delete document; }
size_t kerb_toml_count(const kerb_toml_document *document) { return document->nodes.size(); }
const kerb_toml_node *kerb_toml_nodes(const kerb_toml_document *document) { return document->nodes.data(); }

const char *kerb_toml_error(const kerb_toml_document *document, uint32_t *line, uint32_t *column) {
  if (document->error.empty()) return nullptr;
  *line = document->error_line;
  *column = document->error_column;
  return document->error.c_str();
}
