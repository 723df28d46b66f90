"""What the longest requests cost: `/ai/move` with a game of four on the largest board and its whole `history`.

    python benchmarks/long_games.py [--plies 600] [--at-once 16] [--state FILE.json.gz]

The state is made, or read from a file (under `state`, where there is such a field). Printed: CPU of the server for a
request, at level 1; what `json.loads` takes for the same body, as reference; and the slowest `/health` of 300,
with so many such requests at a time beside them and without.
"""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil

from ringrift.bench.serve import server

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from long_games import board_bytes, long_state

#: In a process of its own: what is measured is the server and not the threads that ask it.
PROBE = """
import http.client, sys, time
seen, connection = [], http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]))
for _ in range(300):
    began = time.perf_counter()
    connection.request("GET", "/health")
    connection.getresponse().read()
    seen.append(1000 * (time.perf_counter() - began))
    time.sleep(0.01)
seen.sort()
print(f"{seen[150]:8.1f} ms, {seen[-4]:.1f} ms at most in 99 of 100, {seen[-1]:.1f} ms at worst")
"""


def probe(url: str) -> subprocess.Popen[str]:
    """Asks for /health 300 times, every 10 ms, and prints how long that took."""
    return subprocess.Popen([sys.executable, "-c", PROBE, url.rpartition(":")[2]], stdout=subprocess.PIPE, text=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--plies", type=int, default=600)
    parser.add_argument("--at-once", type=int, default=16)
    parser.add_argument("--state", type=Path)
    given = parser.parse_args()
    if given.state:
        read = json.loads(gzip.decompress(given.state.read_bytes()))
        state = read.get("state", read)
    else:
        _, state = long_state("hexagonal_4p", given.plies, board_bytes("hexagonal_4p") // 3)
    asked = {"game_state": state, "player_number": state["currentPlayer"], "difficulty": 1}
    body = json.dumps(asked, separators=(",", ":")).encode()
    start = time.process_time()
    json.loads(body)
    reference = time.process_time() - start
    with server() as (url, process):
        watched, headers = psutil.Process(process.pid), {"Content-Type": "application/json"}

        def ask() -> float:
            began = time.perf_counter()
            httpx.post(f"{url}/ai/move", content=body, headers=headers, timeout=60).raise_for_status()
            return time.perf_counter() - began

        ask()
        before = sum(watched.cpu_times()[:2])
        alone = [ask() for _ in range(10)]
        spent = (sum(watched.cpu_times()[:2]) - before) / len(alone)
        quiet = probe(url).communicate()[0]
        with ThreadPoolExecutor(given.at_once) as pool:
            probing, asking = probe(url), [pool.submit(ask) for _ in range(given.at_once)]
            while probing.poll() is None:
                asking += [pool.submit(ask) for _ in range(given.at_once - sum(not one.done() for one in asking))]
                time.sleep(0.05)
            beside = probing.communicate()[0]
            slowest = max(one.result() for one in asking)
        kept = watched.memory_info().rss
    print(f"body                         {len(body) / 1e6:8.1f} MB, {len(state['moveHistory'])} plies")
    print(
        f"CPU of the server            {1000 * spent:8.1f} ms a request (json.loads alone: {1000 * reference:.1f} ms)"
    )
    print(f"answer, one at a time        {1000 * min(alone):8.1f} ms at best")
    print(f"answer, {given.at_once} at a time        {1000 * slowest:8.1f} ms at worst")
    print(f"/health, nothing beside it   {quiet.strip():>8}")
    print(f"/health beside them          {beside.strip():>8}")
    print(f"memory of the server after   {kept / 1e6:8.1f} MB")


if __name__ == "__main__":
    main()
