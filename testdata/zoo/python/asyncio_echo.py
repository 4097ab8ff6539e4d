"""An asyncio server, which closes what its guests have closed."""

import asyncio
import threading

import zoo


async def echo(reader, writer):
    while data := await reader.read(4096):
        writer.write(data)
        await writer.drain()
    writer.close()
    await writer.wait_closed()


async def main():
    server = await asyncio.start_server(echo, zoo.host, 0)
    zoo.tell(listen=zoo.address(server.sockets[0]))
    threading.Thread(target=zoo.until_eof, daemon=True).start()
    await server.serve_forever()


asyncio.run(main())
