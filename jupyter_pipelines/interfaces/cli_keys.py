"""The commands ``keys``: who signs results, and whose are trusted."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import click

from jupyter_pipelines.interfaces.desk import CONTEXT, Desk, as_json, command, write

if TYPE_CHECKING:
    from jupyter_pipelines.project.keys import KnownKey

_JSON = click.option("--json", "as_document", is_flag=True, help="One JSON document on stdout.")


@click.group(
    invoke_without_command=True,
    context_settings=CONTEXT,
    epilog="\b\nExamples:\n"
    "  jupyter pipelines keys new\n"
    "  jupyter pipelines keys show > ada.pub\n"
    "  jupyter pipelines keys trust ada ada.pub",
)
@click.pass_context
def keys(ctx: click.Context) -> None:
    """Sign results, and say whose results are trusted in stores that several people write to."""
    if ctx.invoked_subcommand is None:
        write(ctx.get_help())


def _subcommand(work: Callable[..., Any]) -> click.Command:
    return keys.command(context_settings=CONTEXT)(_JSON(work))


@_subcommand
def new(*, as_document: bool) -> None:
    """Make the key that your results are signed with from now on."""
    from jupyter_pipelines.project import keys as found

    made = found.new()
    said = f"made in {found.folder()}; give the others this line, and trust theirs:\n{made.text}"
    write(_document([made]) if as_document else said)


@_subcommand
def show(*, as_document: bool) -> None:
    """Print your public key, to give to others: they trust it with `keys trust`."""
    from jupyter_pipelines.project import keys as found

    mine = found.show()
    write(_document([mine]) if as_document else mine.text)


@_subcommand
@click.argument("name")
@click.argument("key")
def trust(name: str, key: str, *, as_document: bool) -> None:
    """Use what KEY has signed, and call it NAME; KEY is what `keys show` printed, or a file with it."""
    from jupyter_pipelines.project import keys as found

    made = found.trust(name, key)
    write(_document([made]) if as_document else f"results signed by {made.name} ({made.id}) are used from now on")


@_subcommand
@click.argument("name")
def distrust(name: str, *, as_document: bool) -> None:
    """Use no longer what the key called NAME has signed; what came from it is forgotten."""
    from jupyter_pipelines.project import keys as found

    found.distrust(name)
    write(_document(found.known()) if as_document else f"results signed by {name} are used no longer")


@_subcommand
def list(*, as_document: bool) -> None:  # noqa: A001 - the name of the command
    """List your key and those that you trust."""
    from jupyter_pipelines.project import keys as found

    known = found.known()
    lines = [f"{one.name:<16} {one.id}  {one.text}" for one in known]
    write(_document(known) if as_document else "\n".join(lines) or f"no keys in {found.folder()}")


@command(examples="keys sign churn.ipynb")
def sign(desk: Desk) -> None:
    """Sign what is in the store of NOTEBOOK already, if it is a store of your own, so that it can be shared."""
    from jupyter_pipelines.reporting.wording import plural

    done = desk.project.countersign(desk.home())
    said = f"{plural(done.signed, 'record')} signed, {done.already} signed before"
    left = f", {plural(done.left_out, 'record')} left out: outputs are missing or damaged" if done.left_out else ""
    desk.answer(done.to_dict(), said + left)


keys.add_command(sign)


def _document(known: Iterable[KnownKey]) -> str:
    return as_json({"schema": "jupyter-pipelines/keys/1", "keys": [one.to_dict() for one in known]})
