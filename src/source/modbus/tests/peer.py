"""A Modbus server of another make: pymodbus, as the tests of the poller meet it.

Usage: peer.py <tcp|rtu|tls> [<ca> <certificate> <key>]. Listens on a free port of 127.0.0.1, prints the
port, and ends when its standard input ends. Holding register n holds n + 1, for n from 0 to 99. Unit 1
answers as it should. Unit 2 answers every second request with its bytes turned round, as a broken line does.
Unit 3 is not there. What pymodbus says of that on standard error is of no interest to the tests.
"""

import asyncio
import ssl
import sys

from pymodbus import FramerType
from pymodbus.server import ModbusTcpServer, ModbusTlsServer
from pymodbus.simulator import DataType, SimData, SimDevice


class Garbler:
    """Damages every second answer of unit 2."""

    def __init__(self, unit_at):
        self.unit_at = unit_at
        self.answers = 0

    def trace(self, sending, packet):
        if sending and len(packet) > self.unit_at and packet[self.unit_at] == 2:
            self.answers += 1
            if self.answers % 2 == 0:
                return packet[::-1]
        return packet


async def serve(kind, files):
    def unit(number):
        return SimDevice(number, [SimData(0, values=list(range(1, 101)), datatype=DataType.REGISTERS)])

    context = [unit(1), unit(2)]
    address = ("127.0.0.1", 0)
    if kind == "tls":
        ca, certificate, key = files
        secrets = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        secrets.load_cert_chain(certificate, key)
        secrets.load_verify_locations(ca)
        secrets.verify_mode = ssl.CERT_REQUIRED
        server = ModbusTlsServer(context, framer=FramerType.SOCKET, address=address, sslctx=secrets)
    else:
        framer = FramerType.RTU if kind == "rtu" else FramerType.SOCKET
        garbler = Garbler(0 if kind == "rtu" else 6)
        server = ModbusTcpServer(
            context, framer=framer, address=address, ignore_missing_devices=kind == "rtu", trace_packet=garbler.trace
        )
    await server.serve_forever(background=True)
    print(server.transport.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await server.shutdown()


asyncio.run(serve(sys.argv[1], sys.argv[2:]))
