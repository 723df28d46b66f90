"""Every exception that ringrift raises for a reason of its own.

    RingRiftError                    the command line answers any of these with its sentence and exit status 2
    ├── RulesError (ValueError)      a question the rules cannot answer: unknown config, seat or option
    │   ├── InvalidNotation          a text that is not a move, position or record
    │   └── IllegalMove              a well-formed move that is not legal here
    ├── DataError                    stored data that cannot be used
    │   ├── CorruptBlob              truncated, changed, or it does not replay
    │   ├── EncodingMismatch         made under other feature planes or policy addresses than this code's
    │   └── FormatTooNew             written by a later version
    ├── JobError
    │   └── LeaseLost                somebody else holds the lease
    ├── ClusterError
    │   ├── NodeUnreachable
    │   └── NotLeader
    └── SettingsError                unknown key, wrong type, value out of range

A message says what was wrong and what would be right, in one sentence without a full stop.
"""

from collections.abc import Callable, Iterable


class RingRiftError(Exception):
    """Anything that ringrift refuses or cannot do, said in one sentence."""


class RulesError(RingRiftError, ValueError):
    """The rules have no answer to this: an unknown config, seat, option or symmetry."""


class InvalidNotation(RulesError):
    """The text is not a move, a position or a record."""


class IllegalMove(RulesError):
    """The move can be read, but is not legal in this position."""


class DataError(RingRiftError):
    """Stored data cannot be used as it is."""


class CorruptBlob(DataError):
    """Stored data is truncated or changed, or a record does not replay."""


class EncodingMismatch(DataError):
    """Data or a model was made under another encoding than this code's."""


class FormatTooNew(DataError):
    """A format number above the newest that this code reads."""


class JobError(RingRiftError):
    """A job cannot go on."""


class LeaseLost(JobError):
    """The lease is held by another, or ran out."""


class ClusterError(RingRiftError):
    """Another machine did not do its part."""


class NodeUnreachable(ClusterError):
    """A node does not answer."""


class NotLeader(ClusterError):
    """Only the leader may do this, and this node is not the leader."""


class SettingsError(RingRiftError):
    """A setting is unknown, of the wrong type or out of range."""


def unknown(what: str, given: str, known: Iterable[str]) -> str:
    """The sentence for a name that is not in a table: `unknown player 'gumbl'; did you mean 'gumbel'? known: …`."""
    from difflib import get_close_matches  # only on the way to an error

    names = list(map(str, known))
    near = get_close_matches(given[:60], names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"unknown {what} {given[:60]!r}; {hint}known: {', '.join(names)}"


MOST_GAMES = 1_000_000  #: of one batch or match: all of them are laid out before the first one


def check_games(settings: object, *names: str) -> None:
    """Raises ValueError for the first of these numbers of games that nobody can mean."""
    check_fields(settings, lambda value: 1 <= value <= MOST_GAMES, f"1 to {MOST_GAMES:,}", *names)


def check_fields(settings: object, right: Callable[[float], bool], said: str, *names: str) -> None:
    """Raises ValueError, `drop is 2; 0 to 1 is right`, for the first of these fields that is not right."""
    for name in names:
        if not right(value := getattr(settings, name)):
            raise ValueError(f"{name} is {value}; {said} is right")
