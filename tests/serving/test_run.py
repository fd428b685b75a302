"""How the server listens."""

import asyncio
import socket

from ragkeep.serving.run import listen


def test_an_answer_does_not_wait_for_the_clients_acknowledgement() -> None:
    """With Nagle's algorithm each answer on a kept connection took 40 ms longer."""

    async def accepted() -> int:
        found = asyncio.get_running_loop().create_future()
        listening = listen("127.0.0.1", 0)
        async with await asyncio.start_server(lambda _, writer: found.set_result(writer), sock=listening):
            _, client = await asyncio.open_connection(*listening.getsockname())
            writer = await found
            option: int = writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            client.close()
            writer.close()
        return option

    assert asyncio.run(accepted()) == 1
