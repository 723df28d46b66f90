"""`ringrift config` and `ringrift doctor`."""

import dataclasses

import typer

from ringrift.cli.options import AnyConfig, Assign, Json, SettingsFile
from ringrift.cli.printing import print_json

app = typer.Typer()
config_app = typer.Typer(help="What can be set, and what is in force.", no_args_is_help=True)
app.add_typer(config_app, name="config")


@config_app.command()
def show(config: AnyConfig = None, assign: Assign = None, settings: SettingsFile = None, json: Json = False) -> None:
    """Every value in force and where it comes from."""
    from ringrift.settings import resolve

    rows = resolve(config, file=settings, assign=assign)
    if json:
        print_json({"rows": [dataclasses.asdict(row) for row in rows]})
        return
    wide = max(len(row.key) for row in rows)
    for row in rows:
        value = "" if row.value is None else str(row.value)
        typer.echo(f"{row.key:{wide}} = {value}" + ("" if row.source == "default" else f"    # {row.source}"))


@config_app.command()
def reference() -> None:
    """The reference of all settings, in Markdown."""
    from ringrift.settings import reference

    typer.echo(reference(), nl=False)


@app.command()
def doctor(json: Json = False) -> None:
    """What this machine offers and what holds it back; status 1 when something would not work."""
    from ringrift.cli.doctor import examine

    checks = list(examine())
    if json:
        print_json({"checks": [dataclasses.asdict(check) for check in checks], "ok": all(c.ok for c in checks)})
    else:
        for check in checks:
            mark, colour = ("fail", "red") if not check.ok else ("note", "yellow") if check.advice else ("ok", "green")
            typer.echo(f"{typer.style(f'{mark:4}', fg=colour)}  {check.name:14} {check.value}")
            if check.advice:
                typer.echo(f"{'':21}→ {check.advice}")
    if not all(check.ok for check in checks):
        raise typer.Exit(1)
