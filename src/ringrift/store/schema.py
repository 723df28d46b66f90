"""The tables of games.db, by format, and the functions that their triggers call.

The triggers make a game's way one-way: received → valid or quarantined, quarantined → received when it is restored. It
becomes valid only with the evidence of a judge. Since SQLite finds the functions only on connections of this package,
no statement from elsewhere can add a game or change its state.
"""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
from collections.abc import Mapping
from functools import lru_cache

from ringrift.errors import RingRiftError
from ringrift.fabric.database import Function
from ringrift.fabric.sums import SUM_FUNCTIONS, Summed, sums_schema
from ringrift.rules import Options, Record
from ringrift.rules.record import HEAD, MAGIC

MODEL = re.compile(r"\bm-[0-9a-f]{12}\b")


@lru_cache(1 << 12)
def seated(players: tuple[str, ...]) -> tuple[str, str]:
    """The model among these players, or none, and their names as JSON."""
    return next((found[0] for name in players if (found := MODEL.search(name))), ""), json.dumps(players)


def content_id(record: Record) -> str:
    """32 hex digits that two records share if they are the same game, whoever played or kept it, whatever its end."""
    return hashlib.sha256(_rules(record.config, record.options, record.start) + record.moves.tobytes()).hexdigest()[:32]


@lru_cache(64)
def _rules(config: str, options: Options, start: str) -> bytes:
    return json.dumps([config, options.to_dict(), start]).encode()


def is_whole(record: object) -> bool:
    """Whether these bytes begin as a record does and are as many as they say."""
    if not isinstance(record, bytes) or len(record) < HEAD.size or not record.startswith(MAGIC):
        return False
    return len(record) == HEAD.size + int(HEAD.unpack_from(record)[3])


def evidence(record: bytes, judge: str, plies: int, winner: int, reason: str) -> str:
    """32 hex digits that the judge of a game leaves: they fit this record, this row and this judge alone."""
    return hashlib.blake2b(record + f"/{judge}/{plies}/{winner}/{reason}".encode(), digest_size=16).hexdigest()


@lru_cache(1)
def _told(record: bytes) -> dict[str, str | int]:
    """What a record of format 1 tells in the columns of format 2; of one that cannot be read, only its hash."""
    try:
        read = Record.from_bytes(record)
    except RingRiftError:
        content = hashlib.sha256(record).hexdigest()[:32]
        return {"content": content, "model": "", "engines": "[]", "seed": 0, "origin": "{}"}
    model, engines = seated(read.players)
    origin = {"file": read.meta.get("file", ""), "id": read.meta.get("game", "")} if "file" in read.meta else {}
    told = {"content": content_id(read), "model": model, "engines": engines, "origin": json.dumps(origin)}
    return told | {"seed": seed_kept(read.seed)}


def seed_kept(seed: int) -> int:
    """A seed as SQLite can hold it; the record has the whole."""
    return seed & 0x7FFF_FFFF_FFFF_FFFF


def forget_shard(connection: sqlite3.Connection, shard: int) -> None:
    """Its games are in no shard then: the next export makes those of them that may be trained on into samples again."""
    connection.execute("UPDATE games SET shard = NULL WHERE shard = ?", (shard,))
    connection.execute("DELETE FROM shards WHERE id = ?", (shard,))


FUNCTIONS: Mapping[str, Function] = {
    **SUM_FUNCTIONS,
    "ringrift_is_whole": is_whole,
    "ringrift_evidence": evidence,
    "ringrift_told": lambda record, column: _told(record)[column],
}

SCHEMA = {
    1: """
CREATE TABLE shards (
    id INTEGER PRIMARY KEY, config TEXT NOT NULL, blob TEXT NOT NULL UNIQUE, samples INTEGER NOT NULL,
    games INTEGER NOT NULL, encoding_hash TEXT NOT NULL, added REAL NOT NULL
);
CREATE TABLE games (
    id INTEGER PRIMARY KEY, work_id TEXT NOT NULL UNIQUE, config TEXT NOT NULL, record BLOB NOT NULL,
    plies INTEGER NOT NULL, winner INTEGER NOT NULL, reason TEXT NOT NULL, added REAL NOT NULL,
    played_by TEXT NOT NULL, validated_by TEXT,
    state TEXT NOT NULL DEFAULT 'received' CHECK (state IN ('received', 'valid', 'quarantined')),
    problem TEXT, shard INTEGER REFERENCES shards (id),
    CHECK ((state = 'received') = (validated_by IS NULL)),
    CHECK (state <> 'valid' OR validated_by <> played_by),
    CHECK ((state = 'quarantined') = (problem IS NOT NULL)),
    CHECK (shard IS NULL OR state = 'valid')
);
CREATE TABLE models (
    id TEXT PRIMARY KEY, config TEXT NOT NULL, role TEXT NOT NULL, checkpoint TEXT NOT NULL, onnx TEXT,
    settings TEXT NOT NULL, parents TEXT NOT NULL, metrics TEXT NOT NULL, added REAL NOT NULL, pruned REAL
);
CREATE TABLE promotions (
    config TEXT NOT NULL, revision INTEGER NOT NULL, value TEXT NOT NULL, PRIMARY KEY (config, revision)
);
""",
    2: """
CREATE TABLE retractions (
    id INTEGER PRIMARY KEY, at REAL NOT NULL, by TEXT NOT NULL, what TEXT NOT NULL, reason TEXT NOT NULL, undone REAL
);
ALTER TABLE models ADD COLUMN window TEXT NOT NULL DEFAULT '[]';
ALTER TABLE games RENAME TO games_1;
CREATE TABLE games (
    id INTEGER PRIMARY KEY, work_id TEXT NOT NULL UNIQUE, config TEXT NOT NULL, plies INTEGER NOT NULL,
    winner INTEGER NOT NULL, reason TEXT NOT NULL, content TEXT NOT NULL,
    played_by TEXT NOT NULL, worker TEXT NOT NULL, machine TEXT NOT NULL, code_version TEXT NOT NULL,
    model TEXT NOT NULL, engines TEXT NOT NULL, seed INTEGER NOT NULL, settings TEXT NOT NULL,
    generation INTEGER NOT NULL, created REAL NOT NULL, origin TEXT NOT NULL, added REAL NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('received', 'valid', 'quarantined')),
    validated_by TEXT, evidence TEXT, quality REAL CHECK (quality BETWEEN 0 AND 1), audited REAL,
    problem TEXT, quarantined_at REAL, quarantined_by TEXT,
    shard INTEGER REFERENCES shards (id), retraction INTEGER REFERENCES retractions (id),
    place TEXT GENERATED ALWAYS AS (
        CASE WHEN state = 'quarantined' THEN 'quarantined' WHEN retraction IS NOT NULL THEN 'retracted'
        WHEN state = 'received' THEN 'waiting' WHEN shard IS NULL THEN 'unexported' ELSE 'exported' END
    ) VIRTUAL,
    record BLOB NOT NULL,
    CHECK ((state = 'valid') = (evidence IS NOT NULL)),
    CHECK (state <> 'received' OR validated_by IS NULL),
    CHECK (winner = 0 OR plies >= 1),
    CHECK (state <> 'valid' OR (validated_by IS NOT NULL AND validated_by <> played_by)),
    CHECK (state <> 'valid' OR (plies >= 1 AND winner >= 1 AND reason IN (
        'ring_elimination', 'territory_control', 'last_player_standing', 'lps_rounds',
        'early_ring_elimination', 'early_territory_control', 'early_last_player_standing', 'early_lps_rounds'))),
    CHECK ((state = 'quarantined') = (problem IS NOT NULL AND quarantined_at IS NOT NULL AND quarantined_by <> '')),
    CHECK (shard IS NULL OR (state = 'valid' AND retraction IS NULL))
);
INSERT INTO games
SELECT id, work_id, config, plies, winner, reason, ringrift_told(record, 'content'),
    played_by, played_by, iif(played_by LIKE '_%:_%:_%', substr(played_by, 1, instr(played_by, ':') - 1), ''), '',
    ringrift_told(record, 'model'), ringrift_told(record, 'engines'), ringrift_told(record, 'seed'), '', 0, added,
    ringrift_told(record, 'origin'), added, state, validated_by, iif(state = 'valid',
    ringrift_evidence(record, validated_by, plies, winner, reason), NULL), NULL, NULL,
    problem, iif(state = 'quarantined', added, NULL), iif(state = 'quarantined', validated_by, NULL), shard, NULL,
    record FROM games_1;
DROP TABLE games_1;
CREATE INDEX games_seen ON games (content, id) WHERE state = 'valid';
CREATE TEMP TABLE doubled AS SELECT id, (
    SELECT min(id) FROM games AS first WHERE first.content = games.content AND first.state = 'valid') AS first
FROM games WHERE state = 'valid' AND first < id;
CREATE TEMP TABLE spoilt AS
SELECT DISTINCT shard FROM games WHERE shard IS NOT NULL AND id IN (SELECT id FROM doubled);
UPDATE games SET shard = NULL WHERE shard IN (SELECT shard FROM spoilt);
DELETE FROM shards WHERE id IN (SELECT shard FROM spoilt);
UPDATE games SET state = 'quarantined', evidence = NULL, quarantined_at = added, quarantined_by = validated_by,
    problem = 'the same game as game ' || doubled.first FROM doubled WHERE doubled.id = games.id;
DROP TABLE doubled;
DROP TABLE spoilt;
DROP INDEX games_seen;
CREATE UNIQUE INDEX games_by_content ON games (content) WHERE state = 'valid';
CREATE INDEX games_by_place ON games (config, place);
CREATE INDEX games_received ON games (id) WHERE state = 'received';
CREATE INDEX games_quarantined ON games (id) WHERE state = 'quarantined';
CREATE INDEX games_by_quality ON games (config, quality) WHERE state = 'valid';
CREATE INDEX games_of_shard ON games (shard) WHERE shard IS NOT NULL;
CREATE INDEX games_of_retraction ON games (retraction) WHERE retraction IS NOT NULL;
CREATE INDEX games_by_worker ON games (config, worker, created);
CREATE INDEX games_by_model ON games (model) WHERE model <> '';
CREATE TABLE game_counts (
    config TEXT NOT NULL, place TEXT NOT NULL, games INTEGER NOT NULL, plies INTEGER NOT NULL,
    PRIMARY KEY (config, place)
) WITHOUT ROWID;
INSERT INTO game_counts SELECT config, place, count(*), sum(plies) FROM games GROUP BY config, place;
CREATE TRIGGER games_counted_in AFTER INSERT ON games
BEGIN
    INSERT INTO game_counts VALUES (NEW.config, NEW.place, 1, NEW.plies)
    ON CONFLICT (config, place) DO UPDATE SET games = games + 1, plies = plies + NEW.plies;
END;
CREATE TRIGGER games_counted_on AFTER UPDATE OF state, shard, retraction ON games WHEN OLD.place <> NEW.place
BEGIN
    UPDATE game_counts SET games = games - 1, plies = plies - OLD.plies
    WHERE config = OLD.config AND place = OLD.place;
    INSERT INTO game_counts VALUES (NEW.config, NEW.place, 1, NEW.plies)
    ON CONFLICT (config, place) DO UPDATE SET games = games + 1, plies = plies + NEW.plies;
END;
CREATE TRIGGER games_counted_out AFTER DELETE ON games
BEGIN
    UPDATE game_counts SET games = games - 1, plies = plies - OLD.plies
    WHERE config = OLD.config AND place = OLD.place;
END;
CREATE TRIGGER games_come_whole BEFORE INSERT ON games WHEN NOT ringrift_is_whole(NEW.record)
BEGIN
    SELECT RAISE(ABORT, 'a stored game has a whole record');
END;
CREATE TRIGGER games_come_judged BEFORE INSERT ON games WHEN NEW.state = 'valid'
AND NEW.evidence IS NOT ringrift_evidence(NEW.record, NEW.validated_by, NEW.plies, NEW.winner, NEW.reason)
BEGIN
    SELECT RAISE(ABORT, 'a game is valid only once another process has replayed it');
END;
CREATE TRIGGER games_become_judged BEFORE UPDATE OF state, validated_by, evidence ON games WHEN NEW.state = 'valid'
AND NEW.evidence IS NOT ringrift_evidence(NEW.record, NEW.validated_by, NEW.plies, NEW.winner, NEW.reason)
BEGIN
    SELECT RAISE(ABORT, 'a game is valid only once another process has replayed it');
END;
CREATE TRIGGER games_have_one_way BEFORE UPDATE OF state ON games WHEN OLD.state || ' ' || NEW.state NOT IN (
    'received received', 'received valid', 'received quarantined', 'valid valid', 'valid quarantined',
    'quarantined quarantined', 'quarantined received')
BEGIN
    SELECT RAISE(ABORT, 'a quarantined game stays quarantined until it is restored, and a valid one valid');
END;
CREATE TRIGGER games_never_change BEFORE UPDATE OF id, work_id, config, plies, winner, reason, content, played_by,
worker, machine, code_version, model, engines, seed, settings, generation, created, origin, added, record ON games
BEGIN
    SELECT RAISE(ABORT, 'a stored game never changes');
END;
CREATE TRIGGER games_are_kept BEFORE DELETE ON games WHEN OLD.state <> 'quarantined'
BEGIN
    SELECT RAISE(ABORT, 'a stored game is never deleted, unless it is quarantined');
END;
""",
    3: """
DROP TRIGGER IF EXISTS games_keep_their_ids;
CREATE TRIGGER games_keep_their_ids BEFORE UPDATE ON games WHEN NEW.id <> OLD.id  -- by the name of rowid, too
BEGIN
    SELECT RAISE(ABORT, 'a stored game never changes');
END;
CREATE TRIGGER games_are_quarantined_by_someone BEFORE UPDATE OF state, quarantined_by ON games
WHEN NEW.state = 'quarantined' AND NEW.quarantined_by IS NULL  -- which the check of the table lets through
BEGIN
    SELECT RAISE(ABORT, 'a quarantined game has a reason, a time and who put it there');
END;
""",
}
GAMES = Summed(
    "games",
    "{id}",
    "id work_id config plies winner reason content played_by worker machine code_version model engines seed settings"
    " generation origin",
    "created added record",
    kept="state validated_by evidence quality audited problem quarantined_at quarantined_by shard retraction",
    json="engines origin",
)
SUMMED = (
    GAMES,
    Summed("shards", "{id}", "id config blob samples games encoding_hash", "added"),
    Summed("models", "{id}", "id config role checkpoint onnx settings parents metrics window", "added pruned",
           json="settings parents metrics window"),
    Summed("promotions", "{config} || '/' || {revision}", "config revision value", json="value"),
    Summed("retractions", "{id}", "id by what reason", "at undone", json="what"),
)  # fmt: skip
SCHEMA[4] = sums_schema(SUMMED)
