# Copyright (c) 2026 homelab.backup contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A TCP relay that delays every byte by a fixed time: a NAS that is far away.

Not every kernel has netem, this works everywhere. What it doesn't imitate: loss, and the
round trip of the TCP handshake itself.
"""

from __future__ import annotations

import argparse
import asyncio

_CHUNK = 256 * 1024
_MOST_IN_FLIGHT = 64


async def _carry(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay_s: float
) -> None:
    """Copy one direction; each chunk leaves ``delay_s`` after it came."""
    clock = asyncio.get_running_loop().time
    waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_MOST_IN_FLIGHT)

    async def receive() -> None:
        while data := await reader.read(_CHUNK):
            await waiting.put((clock() + delay_s, data))
        await waiting.put((clock() + delay_s, b""))

    receiving = asyncio.create_task(receive())
    try:
        while True:
            due, data = await waiting.get()
            await asyncio.sleep(max(0.0, due - clock()))
            if not data:
                break
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    finally:
        receiving.cancel()


async def _serve(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    target: tuple[str, int],
    delay_s: float,
) -> None:
    try:
        far_reader, far_writer = await asyncio.open_connection(*target)
    except OSError:
        writer.close()
        return
    try:
        await asyncio.gather(
            _carry(reader, far_writer, delay_s), _carry(far_reader, writer, delay_s)
        )
    except (ConnectionError, OSError):
        # One side broke the connection: the other one sees it broken too.
        writer.transport.abort()
        far_writer.transport.abort()
    finally:
        writer.close()
        far_writer.close()


async def _main(listen: tuple[str, int], target: tuple[str, int], delay_s: float) -> None:
    server = await asyncio.start_server(
        lambda reader, writer: _serve(reader, writer, target, delay_s), *listen
    )
    async with server:
        await server.serve_forever()


def _address(text: str) -> tuple[str, int]:
    host, dummy, port = text.rpartition(":")
    return host, int(port)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listen", type=_address, required=True)
    parser.add_argument("--to", type=_address, required=True)
    parser.add_argument("--one-way-ms", type=float, required=True)
    options = parser.parse_args()
    asyncio.run(_main(options.listen, options.to, options.one_way_ms / 1000))
