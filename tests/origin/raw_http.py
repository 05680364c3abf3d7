"""Requests that no HTTP client would send."""

import asyncio

TIMEOUT_S = 5


async def raw_request(client, path, headers=(), method="GET"):
    """Status line and headers, then the body, of one request with exactly this path."""
    lines = [f"{method} {path} HTTP/1.1", "Host: x", "Connection: close", *headers, "", ""]
    reader, writer = await asyncio.open_connection(client.host, client.port)
    try:
        writer.write("\r\n".join(lines).encode("latin-1"))
        answer = await asyncio.wait_for(reader.read(), TIMEOUT_S)
    finally:
        writer.close()
        await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    return head, body
