"""HTTP as cheap as can be, because client and server share the machine: connections that stay open, one request after another."""

import json
from itertools import count
from time import perf_counter

import trio

from benchmarks.workload import POSTS, posts

READ_BYTES = 65_536


async def posts_per_second(port: int, path: str, connections: int, seconds: float) -> float:
    """Post lines of chat over so many connections, each in a closed loop. Whatever is not 200 ends the measurement."""
    requests = [_request(path, {"author": line.author, "body": line.body}) for line in posts()[:POSTS]]
    done = 0
    begin = perf_counter()
    end = begin + seconds

    async def connection(first: int) -> None:
        nonlocal done
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            for number in count(first):
                await stream.send_all(requests[number % len(requests)])
                await _reply(stream)
                done += 1
                if perf_counter() >= end:
                    return

    async with trio.open_nursery() as nursery:
        for index in range(connections):
            nursery.start_soon(connection, index * 97)
    return done / (perf_counter() - begin)


def _request(path: str, body: dict[str, str]) -> bytes:
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: doors\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


async def _reply(stream: trio.SocketStream) -> None:
    """Read one reply to its end."""
    got = b""
    while True:
        head, end, body = got.partition(b"\r\n\r\n")
        if end:
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"the server said {head.splitlines()[0]!r}: {body!r}")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            if len(body) >= length:
                return
        chunk = await stream.receive_some(READ_BYTES)
        if not chunk:
            raise RuntimeError(f"the server closed the connection in the middle of a reply: {got!r}")
        got += chunk
