// GET /v1/openapi.json: the pull interface as OpenAPI 3.1 says it. Written by hand, and held against the code by a
// test: every route, status, media type and parameter.

package enum OpenAPI {
  package static let document: [UInt8] = Array(text.utf8)

  private static let text = #"""
    {
    "openapi": "3.1.0",
    "info": {
      "title": "Kerb pull API", "version": "1",
      "description": "Several platforms read one box, each with its own token, scope and cursor."
    },
    "security": [{"token": []}],
    "paths": {
      "/healthz": {"get": {
        "operationId": "health", "summary": "Is the agent well? Needs no token.", "security": [],
        "responses": {
          "200": {"description": "It is.", "content": {"application/json": {"schema": {
            "type": "object", "required": ["status"], "properties": {"status": {"const": "ok"}}}}}},
          "400": {"$ref": "#/components/responses/Malformed"}, "405": {"$ref": "#/components/responses/Method"},
          "408": {"$ref": "#/components/responses/Slow"},
          "413": {"$ref": "#/components/responses/Large"}, "414": {"$ref": "#/components/responses/Large"},
          "429": {"$ref": "#/components/responses/Later"}, "431": {"$ref": "#/components/responses/Large"},
          "503": {"$ref": "#/components/responses/Later"}, "505": {"$ref": "#/components/responses/Version"}}}},
      "/v1/batches": {"get": {
        "operationId": "batches", "summary": "What is behind the cursor; `after` acknowledges what is before it.",
        "parameters": [
          {"name": "after", "in": "query", "description": "`next` of an earlier answer: held durably up to here.",
           "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]{66}$"}},
          {"name": "limit", "in": "query", "description": "At most this many records.",
           "schema": {"type": "integer", "minimum": 1, "maximum": 10000, "default": 1000}},
          {"name": "wait", "in": "query", "description": "Seconds to wait for something.",
           "schema": {"type": "number", "minimum": 0, "maximum": 60, "default": 0}},
          {"name": "lane", "in": "query", "description": "Left out: both, alarms first.",
           "schema": {"enum": ["alarms", "telemetry"]}}],
        "responses": {
          "200": {"description": "Records, or a cursor behind what is outside the scope.",
            "headers": {
              "Link": {"description": "Of SenML: where to go on, rel=next.", "schema": {"type": "string"}},
              "Kerb-Gap": {"description": "Of SenML: LANE;from=;to=;count=;reason=.", "schema": {"type": "string"}}},
            "content": {
              "application/json": {"schema": {"$ref": "#/components/schemas/Answer"}},
              "application/senml+json": {"schema": {"type": "array", "minItems": 1, "items": {
                "type": "object", "required": ["n"],
                "oneOf": [{"required": ["v"]}, {"required": ["vb"]}, {"required": ["vs"]}]}}},
              "application/senml+cbor": {"schema": {"type": "string", "contentEncoding": "binary"}}}},
          "204": {"description": "Nothing at all within `wait`. Of SenML: `Link` says whether the cursor has moved.",
            "headers": {
              "Link": {"schema": {"type": "string"}}, "Kerb-Gap": {"schema": {"type": "string"}}}},
          "409": {"$ref": "#/components/responses/Conflict"},
          "400": {"$ref": "#/components/responses/Malformed"}, "401": {"$ref": "#/components/responses/Token"},
          "403": {"$ref": "#/components/responses/Scope"}, "405": {"$ref": "#/components/responses/Method"},
          "406": {"$ref": "#/components/responses/Type"}, "408": {"$ref": "#/components/responses/Slow"},
          "413": {"$ref": "#/components/responses/Large"}, "414": {"$ref": "#/components/responses/Large"},
          "429": {"$ref": "#/components/responses/Later"},
          "431": {"$ref": "#/components/responses/Large"}, "503": {"$ref": "#/components/responses/Later"},
          "505": {"$ref": "#/components/responses/Version"}}}},
      "/v1/points": {"get": {
        "operationId": "points", "summary": "The latest value of each point in the scope, with its age.",
        "parameters": [{"name": "device", "in": "query", "description": "Of this device alone.",
          "schema": {"type": "string"}}],
        "responses": {
          "200": {"description": "The values.", "content": {"application/json": {"schema": {
            "type": "object", "required": ["gateway", "store", "points"], "properties": {
              "gateway": {"type": "string"}, "store": {"type": "string"},
              "points": {"type": "array", "items": {"$ref": "#/components/schemas/Point"}}}}}}},
          "403": {"$ref": "#/components/responses/Scope"}, "404": {"$ref": "#/components/responses/Missing"},
          "400": {"$ref": "#/components/responses/Malformed"}, "401": {"$ref": "#/components/responses/Token"},
          "405": {"$ref": "#/components/responses/Method"}, "406": {"$ref": "#/components/responses/Type"},
          "408": {"$ref": "#/components/responses/Slow"},
          "413": {"$ref": "#/components/responses/Large"}, "414": {"$ref": "#/components/responses/Large"},
          "429": {"$ref": "#/components/responses/Later"}, "431": {"$ref": "#/components/responses/Large"},
          "503": {"$ref": "#/components/responses/Later"}, "505": {"$ref": "#/components/responses/Version"}}}},
      "/v1/alarms": {"get": {
        "operationId": "alarms", "summary": "The alarms in the scope and their states.",
        "parameters": [{"name": "state", "in": "query",
          "description": "Those whose condition holds and that nothing hides, those of a state, or all.",
          "schema": {"default": "active",
            "enum": ["active", "unacknowledged", "shelved", "out-of-service", "suppressed", "all"]}}],
        "responses": {
          "200": {"description": "The alarms.", "content": {"application/json": {"schema": {
            "type": "object", "required": ["gateway", "store", "alarms"], "properties": {
              "gateway": {"type": "string"}, "store": {"type": "string"},
              "alarms": {"type": "array", "items": {"$ref": "#/components/schemas/Alarm"}}}}}}},
          "403": {"$ref": "#/components/responses/Scope"},
          "400": {"$ref": "#/components/responses/Malformed"}, "401": {"$ref": "#/components/responses/Token"},
          "405": {"$ref": "#/components/responses/Method"}, "406": {"$ref": "#/components/responses/Type"},
          "408": {"$ref": "#/components/responses/Slow"},
          "413": {"$ref": "#/components/responses/Large"}, "414": {"$ref": "#/components/responses/Large"},
          "429": {"$ref": "#/components/responses/Later"}, "431": {"$ref": "#/components/responses/Large"},
          "503": {"$ref": "#/components/responses/Later"}, "505": {"$ref": "#/components/responses/Version"}}}},
      "/v1/alarms/{id}/ack": {"post": {
        "operationId": "acknowledge", "summary": "Acknowledges a state of an alarm, for everybody.",
        "parameters": [{"name": "id", "in": "path", "required": true, "description": "`id` of the alarm's state.",
          "schema": {"type": "string", "pattern": "^[1-9][0-9]{0,17}$"}}],
        "requestBody": {"required": false, "content": {"application/json": {"schema": {
          "type": "object", "additionalProperties": false, "properties": {
            "by": {"type": "string", "description": "Who; left out, the consumer. At most 64 bytes, one line.",
              "maxLength": 16, "pattern": "^[^\\u0000-\\u001f]*$"},
            "note": {"type": "string", "description": "At most 136 bytes, one line.",
              "maxLength": 34, "pattern": "^[^\\u0000-\\u001f]*$"}}}}}},
        "responses": {
          "200": {"description": "It is in the log, now or since before.", "content": {"application/json": {
            "schema": {"type": "object", "required": ["id"]}}}},
          "202": {"description": "Taken; the storage is behind, the record will follow.",
            "content": {"application/json": {"schema": {"type": "object", "required": ["detail"]}}}},
          "409": {"$ref": "#/components/responses/Over"},
          "403": {"$ref": "#/components/responses/Scope"}, "404": {"$ref": "#/components/responses/Missing"},
          "400": {"$ref": "#/components/responses/Malformed"}, "401": {"$ref": "#/components/responses/Token"},
          "405": {"$ref": "#/components/responses/Method"}, "408": {"$ref": "#/components/responses/Slow"},
          "413": {"$ref": "#/components/responses/Large"}, "414": {"$ref": "#/components/responses/Large"},
          "429": {"$ref": "#/components/responses/Later"},
          "431": {"$ref": "#/components/responses/Large"}, "503": {"$ref": "#/components/responses/Later"},
          "505": {"$ref": "#/components/responses/Version"}}}},
      "/v1/commands": {"post": {
        "operationId": "command",
        "summary": "Writes a point whose profile allows it, reads it back, and puts it into the alarm lane.",
        "parameters": [{"name": "Idempotency-Key", "in": "header", "required": false,
          "description": "Names the command: the same again is answered again, and not carried out again.",
          "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"}}],
        "requestBody": {"required": true, "content": {"application/json": {"schema": {
          "type": "object", "additionalProperties": false, "required": ["device", "point", "value"], "properties": {
            "device": {"type": "string", "minLength": 1, "maxLength": 64},
            "point": {"type": "string", "minLength": 1, "maxLength": 64},
            "value": {"description": "In the point's unit; of an enumeration also a name of its values.",
              "anyOf": [{"type": "number"}, {"type": "boolean"},
                {"type": "string", "minLength": 1, "maxLength": 16, "pattern": "^[^\\u0000-\\u001f]*$"}]}}}}}},
        "responses": {
          "200": {"description": "It was written; `good` says whether what stands there now is what was asked for.",
            "headers": {"Idempotency-Replayed": {"required": false, "schema": {"const": "true"}}},
            "content": {"application/json": {"schema": {"type": "object",
              "required": ["device", "point", "asked", "before", "after", "good", "logged"], "properties": {
                "device": {"type": "string"}, "point": {"type": "string"},
                "before": {"$ref": "#/components/schemas/Value"}, "after": {"$ref": "#/components/schemas/Value"},
                "good": {"type": "boolean"}, "logged": {"type": "boolean"}}}}}},
          "400": {"$ref": "#/components/responses/Malformed"}, "401": {"$ref": "#/components/responses/Token"},
          "403": {"$ref": "#/components/responses/Scope"}, "404": {"$ref": "#/components/responses/Missing"},
          "405": {"$ref": "#/components/responses/Method"}, "408": {"$ref": "#/components/responses/Slow"},
          "409": {"$ref": "#/components/responses/Key"},
          "413": {"$ref": "#/components/responses/Large"}, "414": {"$ref": "#/components/responses/Large"},
          "422": {"$ref": "#/components/responses/Key"}, "429": {"$ref": "#/components/responses/Later"},
          "431": {"$ref": "#/components/responses/Large"}, "502": {"$ref": "#/components/responses/Device"},
          "503": {"$ref": "#/components/responses/Later"}, "504": {"$ref": "#/components/responses/Device"},
          "505": {"$ref": "#/components/responses/Version"}}}},
      "/v1/devices": {"get": {
        "operationId": "devices", "summary": "State, last good reply and counts of each device in the scope.",
        "responses": {
          "200": {"description": "The devices.", "content": {"application/json": {"schema": {
            "type": "object", "required": ["gateway", "store", "devices"], "properties": {
              "gateway": {"type": "string"}, "store": {"type": "string"},
              "devices": {"type": "array", "items": {"$ref": "#/components/schemas/Device"}}}}}}},
          "400": {"$ref": "#/components/responses/Malformed"}, "401": {"$ref": "#/components/responses/Token"},
          "405": {"$ref": "#/components/responses/Method"}, "406": {"$ref": "#/components/responses/Type"},
          "408": {"$ref": "#/components/responses/Slow"},
          "413": {"$ref": "#/components/responses/Large"}, "414": {"$ref": "#/components/responses/Large"},
          "429": {"$ref": "#/components/responses/Later"}, "431": {"$ref": "#/components/responses/Large"},
          "503": {"$ref": "#/components/responses/Later"}, "505": {"$ref": "#/components/responses/Version"}}}},
      "/v1/schema": {"get": {
        "operationId": "schema", "summary": "What there is in the scope: points, units, names of values, alarms.",
        "responses": {
          "200": {"description": "The schema.", "content": {"application/json": {"schema": {
            "type": "object", "required": ["gateway", "store", "points", "alarms"], "properties": {
              "gateway": {"type": "string"}, "store": {"type": "string"},
              "points": {"type": "array", "items": {"type": "object",
                "required": ["device", "kind", "point", "type", "personal"]}},
              "alarms": {"type": "array", "items": {"type": "object",
                "description": "Of a device, of a bus, or, with neither, of the gateway itself.",
                "required": ["alarm", "severity"], "not": {"required": ["device", "bus"]}, "properties": {
                  "device": {"type": "string"}, "bus": {"type": "string"}, "alarm": {"type": "string"},
                  "severity": {"enum": ["notice", "warning", "major", "critical"]}}}}}}}}},
          "400": {"$ref": "#/components/responses/Malformed"}, "401": {"$ref": "#/components/responses/Token"},
          "405": {"$ref": "#/components/responses/Method"}, "406": {"$ref": "#/components/responses/Type"},
          "408": {"$ref": "#/components/responses/Slow"},
          "413": {"$ref": "#/components/responses/Large"}, "414": {"$ref": "#/components/responses/Large"},
          "429": {"$ref": "#/components/responses/Later"}, "431": {"$ref": "#/components/responses/Large"},
          "503": {"$ref": "#/components/responses/Later"}, "505": {"$ref": "#/components/responses/Version"}}}},
      "/v1/status": {"get": {
        "operationId": "status", "summary": "The box in short, as far as the scope goes, and how far you have come.",
        "responses": {
          "200": {"description": "The state.", "content": {"application/json": {"schema": {
            "type": "object",
            "required": ["gateway", "version", "uptime_s", "clock_synchronised", "devices", "points", "alarms",
              "buffer", "you"],
            "properties": {
              "gateway": {"type": "string"}, "store": {"type": "string"}, "version": {"type": "string"},
              "uptime_s": {"type": "number"}, "clock_synchronised": {"type": "boolean"},
              "devices": {"type": "object"}, "points": {"type": "object"}, "alarms": {"type": "object"},
              "buffer": {"type": "object"},
              "you": {"type": "object", "required": ["name", "lag_records", "gaps"]}}}}}},
          "400": {"$ref": "#/components/responses/Malformed"}, "401": {"$ref": "#/components/responses/Token"},
          "405": {"$ref": "#/components/responses/Method"}, "406": {"$ref": "#/components/responses/Type"},
          "408": {"$ref": "#/components/responses/Slow"},
          "413": {"$ref": "#/components/responses/Large"}, "414": {"$ref": "#/components/responses/Large"},
          "429": {"$ref": "#/components/responses/Later"}, "431": {"$ref": "#/components/responses/Large"},
          "503": {"$ref": "#/components/responses/Later"}, "505": {"$ref": "#/components/responses/Version"}}}},
      "/v1/openapi.json": {"get": {
        "operationId": "openapi", "summary": "This document.",
        "responses": {
          "200": {"description": "OpenAPI 3.1.", "content": {"application/json": {"schema": {"type": "object"}}}},
          "400": {"$ref": "#/components/responses/Malformed"}, "401": {"$ref": "#/components/responses/Token"},
          "405": {"$ref": "#/components/responses/Method"}, "406": {"$ref": "#/components/responses/Type"},
          "408": {"$ref": "#/components/responses/Slow"},
          "413": {"$ref": "#/components/responses/Large"}, "414": {"$ref": "#/components/responses/Large"},
          "429": {"$ref": "#/components/responses/Later"}, "431": {"$ref": "#/components/responses/Large"},
          "503": {"$ref": "#/components/responses/Later"}, "505": {"$ref": "#/components/responses/Version"}}}},
      "/metrics": {"get": {
        "operationId": "metrics", "summary": "Counters and gauges in Prometheus's text format 0.0.4.",
        "responses": {
          "200": {"description": "The metrics.", "content": {"text/plain": {"schema": {"type": "string"}}}},
          "400": {"$ref": "#/components/responses/Malformed"}, "401": {"$ref": "#/components/responses/Token"},
          "405": {"$ref": "#/components/responses/Method"}, "406": {"$ref": "#/components/responses/Type"},
          "408": {"$ref": "#/components/responses/Slow"},
          "413": {"$ref": "#/components/responses/Large"}, "414": {"$ref": "#/components/responses/Large"},
          "429": {"$ref": "#/components/responses/Later"}, "431": {"$ref": "#/components/responses/Large"},
          "503": {"$ref": "#/components/responses/Later"}, "505": {"$ref": "#/components/responses/Version"}}}}
    },
    "components": {
      "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
      "responses": {
        "Malformed": {"description": "A malformed or unknown parameter, or no HTTP/1.1.",
          "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}},
        "Token": {"description": "No token, or nobody's.",
          "headers": {"WWW-Authenticate": {"required": true, "schema": {"type": "string"}}},
          "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}},
        "Scope": {"description": "Outside the scope of this token.",
          "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}},
        "Missing": {"description": "There is no such thing.",
          "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}},
        "Over": {"description": "That state is over; `id` names the present one.",
          "content": {"application/problem+json": {"schema": {"allOf": [{"$ref": "#/components/schemas/Problem"},
            {"required": ["id", "state"], "properties": {"id": {"type": "string"}, "state": {"type": "string"}}}]}}}},
        "Key": {"description": "The command with this key is under way, or the key stands for another one.",
          "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}},
        "Device": {"description": "The device refused, or did not answer; `written` is there if it may have been.",
          "content": {"application/problem+json": {"schema": {"allOf": [{"$ref": "#/components/schemas/Problem"},
            {"properties": {"written": {"enum": ["yes", "unknown"]}}}]}}}},
        "Method": {"description": "Another method than the path takes; `Allow` lists those.",
          "headers": {"Allow": {"required": true, "schema": {"type": "string"}}},
          "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}},
        "Type": {"description": "Nothing in Accept is served here.",
          "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}},
        "Slow": {"description": "The request was not complete in time.",
          "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}},
        "Conflict": {"description": "The cursor is of another store, or ahead of everything stored.",
          "content": {"application/problem+json": {"schema": {"allOf": [{"$ref": "#/components/schemas/Problem"},
            {"required": ["store"], "properties": {"store": {"type": "string"}}}]}}}},
        "Large": {"description": "A body over 64 KiB (413), a target over 4 KiB (414), or a head over 8 KiB (431).",
          "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}},
        "Later": {"description": "Too much at once, or the storage fails: again after Retry-After.",
          "headers": {"Retry-After": {"required": true, "schema": {"type": "integer"}}},
          "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}},
        "Version": {"description": "Not HTTP/1.",
          "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}}
      },
      "schemas": {
        "Problem": {"type": "object", "required": ["type", "title", "status", "detail"], "properties": {
          "type": {"const": "about:blank"}, "title": {"type": "string"}, "status": {"type": "integer"},
          "detail": {"type": "string", "minLength": 1}}},
        "Answer": {"type": "object", "required": ["gateway", "store", "next", "more", "gaps", "batches"],
          "properties": {
            "gateway": {"type": "string"}, "store": {"type": "string"}, "more": {"type": "boolean"},
            "next": {"type": "string", "pattern": "^[A-Za-z0-9_-]{66}$"},
            "gaps": {"type": "array", "items": {"type": "object",
              "required": ["lane", "from", "to", "count", "reason"], "properties": {
                "lane": {"enum": ["alarms", "telemetry"]}, "from": {"type": "integer"}, "to": {"type": "integer"},
                "count": {"type": "integer", "minimum": 1}, "start": {"type": "number"}, "end": {"type": "number"},
                "reason": {"enum": ["evicted", "overflow", "damaged", "thinned", "retention"]}}}},
            "batches": {"type": "array", "items": {"type": "object", "required": ["id", "lane", "records"],
              "properties": {
                "id": {"type": "string"}, "lane": {"enum": ["alarms", "telemetry"]},
                "records": {"type": "array", "minItems": 1, "items": {"$ref": "#/components/schemas/Record"}}}}}}},
        "Record": {"type": "object", "required": ["n"], "properties": {
          "n": {"type": "string"}, "t": {"type": "number"}, "mono": {"type": "number"},
          "unsynchronised": {"const": true}, "v": {"type": "number"}, "vb": {"type": "boolean"},
          "vs": {"type": "string"}, "u": {"type": "string"}, "q": {"$ref": "#/components/schemas/Quality"},
          "label": {"type": "string"}, "stat": {"type": "string"}, "window": {"type": "string"}}},
        "Value": {"type": "object", "required": ["q"], "properties": {
          "v": {"type": "number"}, "vb": {"type": "boolean"}, "vs": {"type": "string"}, "u": {"type": "string"},
          "label": {"type": "string"}, "q": {"$ref": "#/components/schemas/Quality"}}},
        "Quality": {"enum": ["good", "uncertain", "bad", "stale"]},
        "Point": {"allOf": [{"$ref": "#/components/schemas/Record"},
          {"type": "object", "required": ["device", "point", "q"], "properties": {
            "device": {"type": "string"}, "point": {"type": "string"}, "age_ms": {"type": "integer", "minimum": 0}}}]},
        "Alarm": {"type": "object",
          "required": ["n", "id", "alarm", "state", "active", "severity", "message", "values"],
          "properties": {
            "n": {"type": "string"}, "id": {"type": "string"}, "alarm": {"type": "string"}, "t": {"type": "number"},
            "state": {"type": "string"}, "active": {"type": "boolean"}, "since": {"type": "number"},
            "severity": {"enum": ["notice", "warning", "major", "critical"]},
            "message": {"type": "object"}, "values": {"type": "object"}}},
        "Device": {"type": "object", "required": ["name", "kind", "bus", "state", "transactions", "good", "timeouts"],
          "properties": {
            "name": {"type": "string"}, "kind": {"type": "string"}, "bus": {"type": "string"},
            "state": {"enum": ["unknown", "online", "offline"]}, "last_seen": {"type": "number"},
            "transactions": {"type": "integer"}, "good": {"type": "integer"}, "timeouts": {"type": "integer"}}}
      }
    }
    }
    """#
}
