"""Plain HTML pages: no script, nothing from anywhere else; whatever others wrote stands in them as text only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any
from urllib.parse import quote

from jupyter_pipelines.reporting.statuses import look
from jupyter_pipelines.reporting.visible import clean
from jupyter_pipelines.reporting.wording import ago, in_words, short_run

REFRESH = 3
"""Seconds after which the page of a run that goes on is loaded again."""
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


def page(title: str, body: Iterable[str], *, nonce: str, above: str = "", again: bool = False) -> str:
    """Return a page.

    Parameters
    ----------
    title : str
        Its name.
    body : iterable of str
        What stands on it, as HTML.
    nonce : str
        Allows its style.
    above : str
        Links to other pages, as HTML.
    again : bool
        It is loaded again after some seconds.
    """
    name = text(title)
    refresh = f'<meta http-equiv="refresh" content="{REFRESH}">' if again else ""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{name}</title>{refresh}\n'
        f'<meta name="viewport" content="width=device-width"><style nonce="{escape(nonce)}">{STYLE}</style></head>\n'
        f"<body><nav>{above}</nav><main><h1>{name}</h1>{''.join(body)}</main></body></html>\n"
    )


def text(value: object, longest: int = 300) -> str:
    """Return what somebody wrote, as text that stands in HTML."""
    return escape(clean(value, longest))


def link(address: str, words: str) -> str:
    """Return a link; `address` is one of ours."""
    return f'<a href="{escape(address)}">{text(words)}</a>'


def picture(address: str, words: str) -> str:
    """Return a picture; as an image, an SVG can do nothing."""
    return f'<p><img src="{escape(address)}" alt="{text(words, 2_000)}"></p>'


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; its cells are HTML."""
    head = "".join(f'<th scope="col">{escape(one)}</th>' for one in heads)
    lines = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>\n" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead>\n<tbody>{lines}</tbody></table></div>'


def form(address: str, inside: str, button: str, xsrf: str) -> str:
    """Return a form with one button; `inside` and `xsrf` are HTML."""
    return f'<form method="post" action="{escape(address)}">{xsrf}{inside}<button>{text(button)}</button></form>'


def hidden(name: str, value: str) -> str:
    """Return a field that nobody sees."""
    return f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">'


def fields_of(parameters: Iterable[Mapping[str, Any]]) -> str:
    """Return an input for each parameter; an empty one stands for its default."""
    return "".join(_field(one) for one in parameters)


def _field(one: Mapping[str, Any]) -> str:
    hint = "to be given" if one.get("required") else repr(one.get("default"))
    words = " ".join(part for part in (str(one["name"]), f"({one['type']})", str(one.get("description") or "")) if part)
    name = escape(f"p:{one['name']}")
    return f'<label><span>{text(words)}</span><input name="{name}" placeholder="{text(hint, 80)}"></label>'


def state(name: str) -> str:
    """Return a state, with its sign."""
    shown = look(name)
    return f"{escape(shown.sign)} {text(shown.word)}"


def runs_table(runs: Iterable[Mapping[str, Any]], below: str) -> str:
    """Return runs as a table; `below` is where their pages are."""
    rows = [
        [
            link(f"{below}/{one['run']}", short_run(one["run"])),
            state(str(one["state"])),
            text(ago(one.get("started"))),
            text(in_words(one["seconds"])) if one.get("seconds") else "",
            text(one.get("headline") or ""),
        ]
        for one in runs
    ]
    return table(["run", "state", "when", "took", "what"], rows) if rows else "<p>No runs yet.</p>"


def steps_table(statuses: Mapping[str, Mapping[str, Any]], logs: str | None = None) -> str:
    """Return what is said of steps; `logs` is where pages of their logs are."""
    heads = ["step", "state", "why", *(["took", "printed"] if logs else [])]
    return table(heads, [_step_row(name, one, logs) for name, one in statuses.items()])


def _step_row(name: str, one: Mapping[str, Any], logs: str | None) -> list[str]:
    error = one.get("error") or {}
    why = text(one.get("detail") or error.get("message") or (one.get("reason") or {}).get("text") or "", 1_000)
    more = f" <code>{text(error['code'])}</code>" if error.get("code") else ""
    row = [f"<b>{text(name)}</b>", state(str(one["state"])), why + more]
    if logs is None:
        return row
    took = text(in_words(one["seconds"])) if one.get("seconds") else ""
    return [*row, took, link(f"{logs}/{quote(name, safe='')}/log", "log")]
