"""Elements of HTML pages without scripts and external resources; all texts of users are escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any
from urllib.parse import quote

from jupyter_pipelines.reporting.format import ago, in_words, short_run
from jupyter_pipelines.reporting.sanitize import clean
from jupyter_pipelines.reporting.step_status import style_of

REFRESH = 3
"""Seconds after which the page of a running run reloads."""
STYLE = """
:root{color-scheme:light dark;--ink:#1f2328;--soft:#57606a;--rim:#d0d7de;--page:#fff;--head:#f6f8fa;--link:#0550ae}
@media(prefers-color-scheme:dark){:root{--ink:#f0f6fc;--soft:#a0a8b1;--rim:#3d444d;--page:#0d1117;--head:#161b22;
--link:#79c0ff}}
body{margin:2rem auto;max-width:80rem;padding:0 1.5rem;background:var(--page);color:var(--ink);
font:15px/1.5 -apple-system,BlinkMacSystemFont,"Segoe UI","Noto Sans",Helvetica,Arial,sans-serif}
h1{font-size:1.5rem;margin:.25rem 0}h2{font-size:1.1rem;margin:2rem 0 .5rem}p{margin:.25rem 0 1rem;color:var(--soft)}
a{color:var(--link)}nav{font-size:.9rem}.wide{overflow-x:auto}table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;padding:.4rem .75rem;border-bottom:1px solid var(--rim)}
th{font-weight:600;background:var(--head);white-space:nowrap}.number{text-align:right;white-space:nowrap}
img{max-width:100%;height:auto}pre{overflow:auto;max-height:24rem;padding:.75rem;background:var(--head);
border:1px solid var(--rim);font:13px/1.4 ui-monospace,Menlo,Consolas,monospace}
label{display:inline-block;margin:0 1rem .75rem 0}label span{display:block;font-size:.85rem;color:var(--soft)}
input,button{font:inherit;padding:.3rem .6rem;border:1px solid var(--rim);background:var(--page);color:var(--ink)}
button{border-radius:4px;background:var(--head);cursor:pointer}:focus-visible{outline:2px solid var(--link)}
"""


def page(title: str, body: Iterable[str], *, nonce: str, above: str = "", reload: bool = False) -> str:
    """Return a page.

    Parameters
    ----------
    title : str
        Title of the page.
    body : iterable of str
        Its content, as HTML.
    nonce : str
        Nonce that the Content-Security-Policy allows for its style.
    above : str
        Links to other pages, as HTML.
    reload : bool
        Reload it after ``REFRESH`` seconds.
    """
    name = text(title)
    refresh = f'<meta http-equiv="refresh" content="{REFRESH}">' if reload else ""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{name}</title>{refresh}\n'
        f'<meta name="viewport" content="width=device-width"><style nonce="{escape(nonce)}">{STYLE}</style></head>\n'
        f"<body><nav>{above}</nav><main><h1>{name}</h1>{''.join(body)}</main></body></html>\n"
    )


def text(value: object, longest: int = 300) -> str:
    """Return a text of a user, cleaned and escaped for HTML."""
    return escape(clean(value, longest))


def link(address: str, words: str) -> str:
    """Return a link; `address` is an address of this server."""
    return f'<a href="{escape(address)}">{text(words)}</a>'


def picture(address: str, words: str) -> str:
    """Return an image element; browsers run no scripts of an SVG that is loaded as an image."""
    return f'<p><img src="{escape(address)}" alt="{text(words, 2_000)}"></p>'


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; its cells are HTML."""
    head = "".join(f'<th scope="col">{escape(heading)}</th>' for heading in heads)
    lines = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>\n" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead>\n<tbody>{lines}</tbody></table></div>'


def form(address: str, inside: str, button: str, xsrf: str) -> str:
    """Return a form with one button; `inside` and `xsrf` are HTML."""
    return f'<form method="post" action="{escape(address)}">{xsrf}{inside}<button>{text(button)}</button></form>'


def hidden(name: str, value: str) -> str:
    """Return a hidden field."""
    return f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">'


def fields_of(parameters: Iterable[Mapping[str, Any]]) -> str:
    """Return an input for each parameter; an empty input stands for its default."""
    return "".join(_field(parameter) for parameter in parameters)


def _field(parameter: Mapping[str, Any]) -> str:
    hint = "to be given" if parameter.get("required") else repr(parameter.get("default"))
    words = " ".join(
        part
        for part in (str(parameter["name"]), f"({parameter['type']})", str(parameter.get("description") or ""))
        if part
    )
    name = escape(f"p:{parameter['name']}")
    return f'<label><span>{text(words)}</span><input name="{name}" placeholder="{text(hint, 80)}"></label>'


def state(name: str) -> str:
    """Return a state, with its sign."""
    shown = style_of(name)
    return f"{escape(shown.sign)} {text(shown.word)}"


def runs_table(runs: Iterable[Mapping[str, Any]], below: str) -> str:
    """Return runs as a table; `below` is where their pages are."""
    rows = [
        [
            link(f"{below}/{run['run']}", short_run(run["run"])),
            state(str(run["state"])),
            text(ago(run.get("started"))),
            text(in_words(run["seconds"])) if run.get("seconds") else "",
            text(run.get("headline") or ""),
        ]
        for run in runs
    ]
    return table(["run", "state", "when", "took", "what"], rows) if rows else "<p>No runs yet.</p>"


def steps_table(statuses: Mapping[str, Mapping[str, Any]], logs: str | None = None) -> str:
    """Return the statuses of steps as a table; `logs` is the address below which their logs are."""
    heads = ["step", "state", "why", *(["took", "printed"] if logs else [])]
    return table(heads, [_step_row(name, status, logs) for name, status in statuses.items()])


def _step_row(name: str, status: Mapping[str, Any], logs: str | None) -> list[str]:
    error = status.get("error") or {}
    why = text(status.get("detail") or error.get("message") or (status.get("reason") or {}).get("text") or "", 1_000)
    more = f" <code>{text(error['code'])}</code>" if error.get("code") else ""
    row = [f"<b>{text(name)}</b>", state(str(status["state"])), why + more]
    if logs is None:
        return row
    took = text(in_words(status["seconds"])) if status.get("seconds") else ""
    return [*row, took, link(f"{logs}/{quote(name, safe='')}/log", "log")]
