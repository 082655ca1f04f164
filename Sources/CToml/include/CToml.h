#pragma once
/* A C face on toml++: the parsed document as a flat tree, with the line and column of every key and value, which
   the Swift wrappers of toml++ don't carry. Strings live as long as the document. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
  KERB_TOML_TABLE,
  KERB_TOML_ARRAY,
  KERB_TOML_STRING,
  KERB_TOML_INTEGER,
  KERB_TOML_FLOAT,
  KERB_TOML_BOOL,
  KERB_TOML_DATE, /* any of the date and time types, as text */
} kerb_toml_kind;

typedef struct {
  const char *text; /* UTF-8, not terminated */
  size_t length;
} kerb_toml_text;

/* Nodes in the order of a depth-first walk; `parent` is an index (the root's is -1). Members of a table have a key. */
typedef struct {
  kerb_toml_kind kind;
  int32_t parent;
  kerb_toml_text key;
  uint32_t key_line, key_column; /* from 1; of an array's element: its value's */
  uint32_t line, column;
  kerb_toml_text string;
  int64_t integer;
  double number;
  bool boolean;
} kerb_toml_node;

typedef struct kerb_toml_document kerb_toml_document;

/* Only for text whose nesting is bounded: the parser, its tree and the end of both recurse by level. Never NULL. On a
   syntax error the document has no nodes, and an error with its place. */
kerb_toml_document *kerb_toml_parse(const char *text, size_t length);
void kerb_toml_free(kerb_toml_document *document);
size_t kerb_toml_count(const kerb_toml_document *document);
const kerb_toml_node *kerb_toml_nodes(const kerb_toml_document *document);
/* NULL when the text parsed. */
const char *kerb_toml_error(const kerb_toml_document *document, uint32_t *line, uint32_t *column);

#ifdef __cplusplus
}
#endif
