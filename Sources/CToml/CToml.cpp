#include "CToml.h"

#include <toml++/toml.h>

#include <deque>
#include <sstream>
#include <string>
#include <vector>

struct kerb_toml_document {
  std::vector<kerb_toml_node> nodes;
  std::deque<std::string> strings; // a deque never moves its elements
  std::string error;
  uint32_t error_line = 0, error_column = 0;

  kerb_toml_text keep(std::string_view text) {
    strings.emplace_back(text);
    return {strings.back().data(), strings.back().size()};
  }

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

kerb_toml_document *kerb_toml_parse(const char *text, size_t length) {
  auto *document = new kerb_toml_document;
  try {
    const toml::table root = toml::parse(std::string_view(text, length));
    document->add(root, -1, nullptr);
  } catch (const toml::parse_error &failure) {
    document->error = std::string(failure.description());
    document->error_line = failure.source().begin.line;
    document->error_column = failure.source().begin.column;
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
