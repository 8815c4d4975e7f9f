"""The commands ``keys``: who signs results, whose are trusted, and the key that a team shares."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from jupyter_pipelines.interfaces.cli.command import CONTEXT, CommandContext, command, write
from jupyter_pipelines.interfaces.strict_json import as_json

if TYPE_CHECKING:
    from jupyter_pipelines.project.signing_keys import KnownKey

_JSON = click.option("--json", "as_document", is_flag=True, help="One JSON document on stdout.")


@click.group(
    invoke_without_command=True,
    context_settings=CONTEXT,
    epilog="\b\nExamples:\n"
    "  jupyter pipelines keys new\n"
    "  jupyter pipelines keys show > ada.pub\n"
    "  jupyter pipelines keys trust ada ada.pub\n"
    "  (umask 077; jupyter pipelines keys share > ~/team.key)\n"
    "  jupyter pipelines keys join ~/team.key",
)
@click.pass_context
def keys(ctx: click.Context) -> None:
    """Sign results, and choose whose results are used in stores that several people write to."""
    if ctx.invoked_subcommand is None:
        write(ctx.get_help())


# Keys belong to the user and not to a notebook: these commands take neither a notebook nor a store.
def _subcommand(work: Callable[..., Any]) -> click.Command:
    return keys.command(context_settings=CONTEXT)(_JSON(work))


@_subcommand
def new(*, as_document: bool) -> None:
    """Make the key that your results are signed with from now on."""
    from jupyter_pipelines.project import signing_keys

    new_key = signing_keys.new()
    notice = f"made in {signing_keys.folder()}; give the others this line, and trust theirs:\n{new_key.text}"
    write(_document([new_key]) if as_document else notice)


@_subcommand
def show(*, as_document: bool) -> None:
    """Print your public key, to give to others: they trust it with `keys trust`."""
    from jupyter_pipelines.project import signing_keys

    mine = signing_keys.show()
    write(_document([mine]) if as_document else mine.text)


@_subcommand
@click.argument("name")
@click.argument("key")
def trust(name: str, key: str, *, as_document: bool) -> None:
    """Use what KEY has signed, and call it NAME; KEY is what `keys show` printed, or a file with it."""
    from jupyter_pipelines.project import signing_keys

    trusted_key = signing_keys.trust(name, key)
    write(
        _document([trusted_key])
        if as_document
        else f"results signed by {trusted_key.name} ({trusted_key.id}) are used from now on"
    )


@_subcommand
@click.argument("name")
def distrust(name: str, *, as_document: bool) -> None:
    """Use no longer what the key called NAME has signed; what came from it is forgotten."""
    from jupyter_pipelines.project import signing_keys

    signing_keys.distrust(name)
    write(_document(signing_keys.known()) if as_document else f"results signed by {name} are used no longer")


@_subcommand
@click.option("--new", "renew", is_flag=True, help="Make another one, for instance when a member has left.")
def share(*, renew: bool, as_document: bool) -> None:
    """Print the secret key of your team, and make it if there is none; the others take it over with `keys join`.

    In stores that several people write to, it makes the digests of environment variables that steps read, so that
    colleagues can compare them, and readers outside the team cannot guess the values.
    """
    from jupyter_pipelines.project import signing_keys

    key = signing_keys.share(renew=renew)
    write(_document([key]) if as_document else key.text)


@_subcommand
@click.argument("key")
def join(key: str, *, as_document: bool) -> None:
    """Use the secret key of a team from now on; KEY is what `keys share` printed, or a file with it."""
    from jupyter_pipelines.project import signing_keys

    joined = signing_keys.join(key)
    notice = f"digests of environment variables in shared stores are made with {joined.id} from now on"
    write(_document([replace(joined, text="")]) if as_document else notice)


@_subcommand
def list(*, as_document: bool) -> None:  # noqa: A001 - the name of the command
    """List your key, those that you trust, and those of your teams, whose secrets are not shown."""
    from jupyter_pipelines.project import signing_keys

    known_keys = signing_keys.known()
    lines = [f"{key.name:<16} {key.id}  {key.text}".rstrip() for key in known_keys]
    write(_document(known_keys) if as_document else "\n".join(lines) or f"no keys in {signing_keys.folder()}")


@command(examples="keys sign churn.ipynb")
def sign(desk: CommandContext) -> None:
    """Sign what is in the store of NOTEBOOK already, if it is a store of your own, so that it can be shared."""
    from jupyter_pipelines.reporting.format import plural

    report = desk.project.countersign(desk.home())
    summary = f"{plural(report.signed, 'record')} signed, {report.already} signed before"
    skipped = (
        f", {plural(report.left_out, 'record')} left out: outputs are missing or damaged" if report.left_out else ""
    )
    desk.answer(report.to_dict(), summary + skipped)


keys.add_command(sign)


def _document(known_keys: Iterable[KnownKey]) -> str:
    return as_json({"schema": "jupyter-pipelines/keys/1", "keys": [key.to_dict() for key in known_keys]})
