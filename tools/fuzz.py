"""Feeds every reader of texts, records and files with garbage: only the documented errors may come out, and soon.

    make fuzz                        # 5 seconds for each reader
    make fuzz SECONDS_EACH=30        # ten minutes for all of them
    python tools/fuzz.py shard       # one of them

Inputs are changed pieces of real ones. What is read without an error is then used: a position must be sound, write
itself back and play on. A hang or a crash shows the input, which is written to build/fuzz first.
"""

import faulthandler
import json
import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from fuzz_files import FILE_READERS, FileFuzzer

from ringrift.errors import DataError, RulesError
from ringrift.parity import compare_file, record_game
from ringrift.rules import CONFIGS, Game, Options, Record

KEPT = Path(__file__).parents[1] / "build" / "fuzz"  #: the last input of each reader of files
MEMORY = 24 << 30  #: bytes of address space, of which torch takes some itself
LONGEST = 20.0  #: seconds that one input may take
LETTERS = '0123456789,;:/-= >x*[]@|PMCKRLOTEFSNAlrtFSsw\0\n\xe9{}"'


def random_game(config: str, plies: int, rng: random.Random) -> Game:
    """A game of at most so many random plies."""
    game = Game(config, Options(rings_per_player=rng.choice([None, 3, 8]), swap_rule=rng.random() < 0.3))
    while not game.is_over and game.ply < plies:
        game.push_packed(int(rng.choice(game.playable_packed())))
    return game


def changed(text: str, rng: random.Random, others: list[str]) -> str:
    """The text with one to five small changes."""
    for _ in range(rng.choice([1, 1, 1, 2, 5])):
        a, b = sorted(rng.randrange(len(text) + 1) for _ in range(2))
        piece = rng.choice(others)
        c = rng.randrange(len(piece) + 1)
        text = rng.choice(
            [
                text[:a] + text[min(b, a + 5) :],
                text[:a] + rng.choice(LETTERS) + text[a + 1 :],
                text[:a] + rng.choice(LETTERS) + text[a:],
                text[:b] + text[a:b] + text[b:],
                text[:a] + piece[c : c + rng.randint(1, 30)] + text[a:],
                text[:a]
                + str(rng.choice([-1, 0, 1, 3, 7, 99, 255, 9999, 65536, 2**31, 2**64]))
                + text[b if b - a < 4 else a :],
                text[:a],
            ]
        )
    return text


def use(game: Game, rng: random.Random) -> None:
    """A position that was read must be sound, write itself back, and play on; no error is documented for that."""
    try:
        play_on(game, rng)
    except RulesError as error:
        raise AssertionError(game.text()) from error


def play_on(game: Game, rng: random.Random) -> None:
    """Everything that can be done with a sound position."""
    game.check_invariants()
    again = Game.parse(game.text())
    assert again.text() == game.text(), game.text()
    assert again.key == game.key == game.recomputed_key(), game.text()
    assert game.is_over == (game.outcome() is not None), game.text()
    str(game)
    for _ in range(6):
        if game.is_over:
            break
        game.push(rng.choice(game.playable_moves()))
        game.check_invariants()
    game._repr_svg_()


class Fuzzers:
    """Real inputs to begin with, and one method per reader; each reads one changed input."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        lengths = (0, 3, 30, 77, 140, 210)
        self.games = [random_game(config, plies, self.rng) for config in CONFIGS for plies in lengths]
        self.texts = [game.text() for game in self.games]
        self.moves = [move.text for game in self.games for move in game.playable_moves()[::7]] + [
            "R1,1>1,2:F@3,3",
            "NL",
        ]
        finished = [random_game("square8_2p", 999, self.rng) for _ in range(4)]
        self.records = [Record.from_game(game, seed=1, players=("a", "b")) for game in finished]
        self.blobs = [record.to_bytes() for record in self.records]
        self.lines = [record.to_json() for record in self.records]
        self.recorded = [json.dumps(record_game("hex8_2p", i, Options(rings_per_player=3), cap=40)) for i in range(3)]
        self.scratch = Path(tempfile.mkdtemp()) / "recorded.jsonl"
        self.last: object = None

    def position(self) -> None:
        """Position texts."""
        self.last = text = changed(self.rng.choice(self.texts), self.rng, self.texts)
        use(Game.parse(text), self.rng)

    def canonical(self) -> None:
        """Canonical states of one config, read as another's now and then."""
        config, _, state = self.rng.choice(self.texts).split(";", 2)
        self.last = text = changed(state.rpartition(";")[0], self.rng, self.texts)
        config = self.rng.choice(CONFIGS) if self.rng.random() < 0.1 else config
        use(Game.from_canonical(config, text), self.rng)

    def move(self) -> None:
        """Moves, at all stages of games."""
        self.last = text = changed(self.rng.choice(self.moves), self.rng, self.moves)
        game = self.rng.choice(self.games).copy()
        assert isinstance(text in game.legal_moves, bool)
        game.push(text)
        game.check_invariants()

    def packed_move(self) -> None:
        """Numbers that are no moves."""
        game = self.rng.choice(self.games).copy()
        bits = self.rng.getrandbits(32) if self.rng.random() < 0.5 or game.is_over else int(game.playable_packed()[0])
        self.last = bits = bits ^ (1 << self.rng.randrange(32))
        game.push_all_packed(np.array([bits], np.uint32))
        game.check_invariants()

    def record(self) -> None:
        """Records: changed blobs, and blobs changed under a right checksum."""
        import struct
        import zlib

        from ringrift.rules.record import COMMON, HEAD

        blob = bytearray(self.rng.choice(self.blobs))
        if self.rng.random() < 0.3:
            blob[self.rng.randrange(len(blob))] ^= 1 << self.rng.randrange(8)
            del blob[self.rng.randrange(len(blob)) :: self.rng.choice([1, 100, 1000])]
        else:
            magic, version, _, _ = HEAD.unpack_from(blob)
            plain = bytearray(zlib.decompressobj(zdict=COMMON).decompress(bytes(blob[HEAD.size :])))
            for _ in range(self.rng.randint(1, 3)):
                plain[self.rng.randrange(min(len(plain), self.rng.choice([300, 10**6])))] = self.rng.randrange(256)
            if self.rng.random() < 0.3:
                del plain[self.rng.randrange(len(plain)) :]
            if self.rng.random() < 0.1:
                plain[:4] = struct.pack("<I", self.rng.getrandbits(32))
            packer = zlib.compressobj(1, zdict=COMMON)
            body = packer.compress(bytes(plain)) + packer.flush()
            blob = bytearray(HEAD.pack(magic, version, zlib.crc32(body), len(body)) + body)
        self.last = bytes(blob)
        Record.from_bytes(bytes(blob)).replay()

    def record_line(self) -> None:
        """Records as JSON."""
        self.last = line = changed(self.rng.choice(self.lines), self.rng, self.lines)
        Record.from_json(line).replay()

    def recorded_game(self) -> None:
        """Recorded games, as parity reads them."""
        self.last = line = changed(self.rng.choice(self.recorded), self.rng, self.recorded)
        self.scratch.write_bytes(line.encode("utf-8", "surrogatepass"))
        compare_file(self.scratch)


READERS: dict[str, Callable[[Fuzzers], None]] = {
    name: getattr(Fuzzers, name)
    for name in ("position", "canonical", "move", "packed_move", "record", "record_line", "recorded_game")
}


def run(name: str, seed: int, *, cases: int = 10**9, seconds: float = 1e9) -> tuple[int, int]:
    """Feeds one reader; how many inputs there were, and how many of them were refused. Raises at the first fault, of
    which the input is kept: the file that is named, or as it is printed."""
    fuzzers = FileFuzzer(name, seed, KEPT / name) if name in FILE_READERS else Fuzzers(seed)
    end, inputs, refused = time.monotonic() + seconds, 0, 0
    while inputs < cases and time.monotonic() < end:
        faulthandler.dump_traceback_later(LONGEST, exit=True)
        inputs += 1
        try:
            if isinstance(fuzzers, FileFuzzer):
                refused += not fuzzers.read()
            else:
                READERS[name](fuzzers)
        except (RulesError, DataError):
            if isinstance(fuzzers, FileFuzzer):
                print(f"{name}, seed {seed}, input {inputs}: {fuzzers.path}", file=sys.stderr)
                raise
            refused += 1
        except BaseException:
            what = fuzzers.path if isinstance(fuzzers, FileFuzzer) else repr(fuzzers.last)
            print(f"{name}, seed {seed}, input {inputs}: {what}", file=sys.stderr)
            raise
    faulthandler.cancel_dump_traceback_later()
    return inputs, refused


def main() -> None:
    """Runs each reader for SECONDS_EACH seconds or CASES inputs; status 1 at the first thing that should not happen.

    The readers may be named as arguments; SEED makes other inputs.
    """
    seconds, seed = float(os.environ.get("SECONDS_EACH", "5")), int(os.environ.get("SEED", "1"))
    cases = int(os.environ.get("CASES", "0"))
    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for name in sys.argv[1:] or (*READERS, *FILE_READERS):
        inputs, refused = run(name, seed, cases=cases) if cases else run(name, seed, seconds=seconds)
        print(f"{name}: {inputs} inputs, {refused} refused, the rest read and used", flush=True)


if __name__ == "__main__":
    main()
