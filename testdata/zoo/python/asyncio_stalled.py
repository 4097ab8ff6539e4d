"""write without drain: the peer does not read, the buffers fill, and nobody asks."""

import asyncio
import threading

import zoo


async def main():
    streams = []
    for _ in range(zoo.n):
        reader, writer = await asyncio.open_connection(*zoo.peer)
        writer.write(bytes(16 << 20))
        streams.append((reader, writer))
    zoo.tell(truth={"stalled-send": zoo.n}, held={"ESTAB persist": zoo.n})
    threading.Thread(target=zoo.until_eof, daemon=True).start()
    await asyncio.Event().wait()


asyncio.run(main())
