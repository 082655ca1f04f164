"""A Modbus slave that nobody here wrote: pymodbus, on a thread of its own."""

import asyncio
import threading

from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

FUNCTIONS = {"coil": 1, "discrete": 2, "holding": 3, "input": 4}


class Slave:
    """Serves units, each with four tables that begin at address 0 and end behind their last value."""

    def __init__(self, units, port_path=None, baud=None, tcp_port=None):
        """`units`: by address, by table: a list of registers or of bits."""
        self.units = units
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.server = self._do(self._serve(port_path, baud, tcp_port))

    def _do(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(10)

    async def _serve(self, port_path, baud, tcp_port):
        devices = [self._device(address, tables) for address, tables in self.units.items()]
        if tcp_port:
            server = ModbusTcpServer(devices, address=("127.0.0.1", tcp_port))
        else:
            server = ModbusSerialServer(devices, port=port_path, baudrate=baud)
        await server.serve_forever(background=True)
        return server

    @staticmethod
    def _device(address, tables):
        def block(table):
            kind = DataType.BITS if table in ("coil", "discrete") else DataType.REGISTERS
            # A table without a value of ours still has one place.
            return [SimData(0, values=list(tables.get(table, [0] * 16)), datatype=kind)]

        return SimDevice(address, simdata=tuple(block(table) for table in ("coil", "discrete", "holding", "input")))

    def set(self, address, table, values):
        """All values of one table at once: no request sees half of them."""
        self._do(self.server.async_setValues(address, FUNCTIONS[table], 0, list(values)))

    def close(self):
        self._do(self.server.shutdown())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(5)
        self.loop.close()
