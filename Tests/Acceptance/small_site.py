"""The smallest box that says something: a manhole cover that stands open and a hydrant, on one line."""

SITE = """
[[line]]
name = "line"
protocol = "modbus-tcp"
listen = "127.0.0.1:{port}"
[[device]]
name = "cover-1"
line = "line"
address = 1
profile = "manhole-cover/generic"
  [[device.signal]]
  point = "tilt"
  shape = "constant"
  value = 34
[[device]]
name = "hydrant-1"
line = "line"
address = 2
profile = "hydrant/generic"
"""

BUS = """
[[bus]]
name = "line"
protocol = "modbus-tcp"
host = "127.0.0.1:{port}"
[[device]]
name = "cover-1"
bus = "line"
address = 1
profile = "manhole-cover/generic"
[[device]]
name = "hydrant-1"
bus = "line"
address = 2
profile = "hydrant/generic"
"""
