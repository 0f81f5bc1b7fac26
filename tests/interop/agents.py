"""Two aioice agents that may use relayed candidates only, and messages both ways."""

import asyncio
import sys

from aioice import Connection, TransportPolicy

MESSAGES = 50


async def main(host, port, transport, user, password):
    def agent(controlling):
        return Connection(
            ice_controlling=controlling,
            turn_server=(host, int(port)),
            turn_username=user,
            turn_password=password,
            turn_ssl=transport == "tls",
            turn_transport="udp" if transport == "udp" else "tcp",
            transport_policy=TransportPolicy.RELAY,
        )

    a, b = agent(True), agent(False)
    await asyncio.gather(a.gather_candidates(), b.gather_candidates())
    for one, other in ((a, b), (b, a)):
        assert one.local_candidates, "no candidate"
        assert all(c.type == "relay" for c in one.local_candidates), one.local_candidates
        for candidate in one.local_candidates:
            await other.add_remote_candidate(candidate)
        await other.add_remote_candidate(None)
        other.remote_username = one.local_username
        other.remote_password = one.local_password
    await asyncio.gather(a.connect(), b.connect())
    for one, other in ((a, b), (b, a)):
        for number in range(MESSAGES):
            message = bytes([number]) * (1 + 23 * number)
            await one.send(message)
            assert await other.recv() == message, number
    await asyncio.gather(a.close(), b.close())
    print("all relayed")


asyncio.run(asyncio.wait_for(main(*sys.argv[1:]), 30))
