"""One streetlight on a serial line of its own: its side of the line, and the box's."""

LINE = """
[[line]]
name = "{name}"
protocol = "modbus-rtu"
link = "{link}"
baud = 115200
[[device]]
name = "lamp-{name}"
line = "{name}"
address = 3
profile = "streetlight/generic"
"""

BUS = """
[[bus]]
name = "{name}"
protocol = "modbus-rtu"
port = "{link}"
baud = 115200
[[device]]
name = "lamp-{name}"
bus = "{name}"
address = 3
profile = "streetlight/generic"
"""
