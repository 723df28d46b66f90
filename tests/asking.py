"""Requests to an app in this process, without a port."""

from typing import Any

import anyio
import httpx


class Client:
    """Asks one app; an exception that it lets out is raised."""

    def __init__(self, app: Any, base_url: str = "http://localhost", **headers: str) -> None:
        self.app, self.base_url, self.headers = app, base_url, headers

    def request(self, method: str, path: str, **given: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, client=("127.0.0.1", 1))
            async with httpx.AsyncClient(transport=transport, base_url=self.base_url, headers=self.headers) as client:
                return await client.request(method, path, **given)

        return anyio.run(ask)

    def get(self, path: str, **given: Any) -> httpx.Response:
        return self.request("GET", path, **given)

    def post(self, path: str, **given: Any) -> httpx.Response:
        return self.request("POST", path, **given)
