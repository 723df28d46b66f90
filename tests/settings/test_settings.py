"""Where a setting comes from, what is refused, and that the reference is current."""

from pathlib import Path

import pytest

from ringrift.errors import SettingsError
from ringrift.settings import Settings, leaves, load, reference, resolve, to_dict

ROOT = Path(__file__).parents[2]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "my.toml"
    path.write_text('[places]\ndata = "from-file"\n[config.hex8_2p.places]\ndata = "hex-from-file"\n')
    return path


def test_without_anything_the_defaults_hold() -> None:
    assert load(environ={}) == Settings()


def test_the_last_to_name_a_value_wins(file: Path) -> None:
    variable = {"RINGRIFT_PLACES__DATA": "from-variable"}
    assert load(file=file, environ={}).places.data == Path("from-file")
    assert load("hex8_2p", file=file, environ={}).places.data == Path("hex-from-file")
    assert load("hex8_2p", file=file, environ=variable).places.data == Path("from-variable")
    assert load(file=file, environ=variable, assign=["places.data=set"]).places.data == Path("set")
    special = ["config.hex8_2p.places.data=only-hex", "places.data=others"]
    assert load("hex8_2p", environ={}, assign=special).places.data == Path("only-hex")
    assert load("hex8_3p", environ={}, assign=special).places.data == Path("others")


def test_every_value_has_an_origin(file: Path) -> None:
    variable = {"RINGRIFT_CONFIG__HEX8_2P__PLACES__DATA": "x"}
    sources = {one.key: one.source for one in resolve("hex8_2p", file=file, environ=variable)}
    assert list(sources) == list(leaves())
    assert sources["places.data"] == "$RINGRIFT_CONFIG__HEX8_2P__PLACES__DATA for hex8_2p"
    assert {one.source for one in resolve(environ={})} == {"default"}


def test_the_environment_may_name_the_file(file: Path) -> None:
    assert load(environ={"RINGRIFT_SETTINGS": str(file)}).places.data == Path("from-file")


@pytest.mark.parametrize(
    ("assign", "environ", "sentence"),
    [
        (["places.dta=x"], {}, "--set: unknown key 'places.dta'; did you mean 'places.data'?"),
        (["data=x"], {}, "did you mean 'places.data'?"),
        (["window.least=0"], {}, "window (--set): least is 0; more than 0 is right"),
        (["window.sources=['x=y']"], {}, "PATTERN=FACTOR is right"),
        (["keeping.models=0"], {}, "models is 0; 1 or more is right"),
        (["loop.rounds=2.5"], {}, "--set: loop.rounds = '2.5' is not int"),
        (["places.data"], {}, "a value is given as KEY=VALUE"),
        (["config.hex9_2p.places.data=x"], {}, "unknown config 'hex9_2p'; did you mean"),
        (["match.games=" + "9" * 5000], {}, "--set: match.games = '9999"),
        (["match.games=" + "[" * 5000], {}, "--set: match.games = '[[[["),
        (["match.sprt=[0,1e6]"], {}, "match (--set): sprt is 0,1e+06; two differences in Elo from -2000 to 2000"),
        (["gate.early=[0,inf]"], {}, "gate (--set): early is 0,inf; two differences"),
        (["match.timeout=0"], {"RINGRIFT_MATCH__GAMES": "7"}, "match (--set): timeout is 0.0; more than 0 is right"),
        (["match.seconds=0.1"], {"RINGRIFT_MATCH__TIMEOUT": "0"}, "match ($RINGRIFT_MATCH__TIMEOUT): timeout is 0.0"),
        (["places.data=3"], {"RINGRIFT_PLACE__DATA": "x"}, "$RINGRIFT_PLACE__DATA: unknown key 'place.data'"),
    ],
)
def test_what_cannot_be_used_is_refused(assign: list[str], environ: dict[str, str], sentence: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(assign=assign, environ=environ)
    assert sentence in str(caught.value)


def test_an_option_is_named_as_it_is_typed() -> None:
    with pytest.raises(SettingsError, match=r"^match \(--timeout\): timeout is 0.0; more than 0 is right$"):
        load(assign=["match.games=7"], options={"match.timeout": 0.0, "match.seconds": None}, environ={})
    with pytest.raises(SettingsError, match=r"^loop \(--games\): "):
        load(options={"loop.first_games": 0, "loop.seed": 1}, environ={})
    assert load(options={"loop.promote": False, "match.sprt": (0.0, 20.0)}, environ={}).match.sprt == (0.0, 20.0)
    assert load(assign=["config.hex8_2p.match.games=5"], options={"match.games": 6}, environ={}).match.games == 6


@pytest.mark.parametrize(
    "text",
    [
        b"x = " + b"[" * 100_000,
        b"x." * 5000 + b"x = 1\n",
        b"[match]\ngames = " + b"9" * 5000,
        b"[places\n",
        b"\xff\xfa",
        b"[config.hex8_2p.plces]\ndata = 1\n",
        b"places = 3\n",
    ],
)
def test_an_unusable_file_is_refused(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(text)
    with pytest.raises(SettingsError, match=r"bad\.toml"):
        load(file=path, environ={})


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="No such file"):
        load(file=tmp_path / "none.toml", environ={})


def test_every_setting_is_documented() -> None:
    assert all(leaf.doc for leaf in leaves().values())


def test_the_reference_is_current() -> None:
    assert (ROOT / "docs" / "settings.md").read_text() == reference(), "run `make docs`"


def test_settings_can_be_stored() -> None:
    import json

    assert json.loads(json.dumps(to_dict(Settings())))["places"]["data"] == "runs"
