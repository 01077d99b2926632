"""Carries connections from one address to another, as a reverse proxy or a port forwarding would.

python -m tests.machines.relay LISTEN_HOST LISTEN_PORT TARGET_HOST TARGET_PORT
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress


async def main(here: str, port: int, there: str, target: int) -> None:
    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            back, forth = await asyncio.open_connection(there, target)
        except OSError:
            writer.close()
            return
        await asyncio.gather(carry(reader, forth), carry(back, writer))

    async with await asyncio.start_server(serve, here, port) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])))
