"""The pieces of a picture, and its colours on light and dark pages.

A colour is spoken of by its name. It stands as an attribute of its element, as on a light page, and once more as a
class, by which a style sheet replaces it on a dark page.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from types import MappingProxyType

from jupyter_pipelines.reporting.step_status import STATE_STYLES, style_of

FONT = "-apple-system, BlinkMacSystemFont, 'Segoe UI', 'Noto Sans', Helvetica, Arial, sans-serif"

LIGHT: Mapping[str, str] = MappingProxyType(
    {
        "panel": "#ffffff",
        "card": "#ffffff",
        "file": "#f6f8fa",
        "rim": "#c9d1d9",
        "text": "#1f2328",
        "soft": "#57606a",
        "line": "#8c959f",
    }
)
DARK: Mapping[str, str] = MappingProxyType(
    {
        "panel": "#0d1117",
        "card": "#161b22",
        "file": "#12171e",
        "rim": "#3d444d",
        "text": "#f0f6fc",
        "soft": "#a0a8b1",
        "line": "#7d8590",
    }
)
_JUPYTER = {
    "panel": "--jp-layout-color1",
    "card": "--jp-layout-color1",
    "file": "--jp-layout-color2",
    "rim": "--jp-border-color1",
    "text": "--jp-ui-font-color0",
    "soft": "--jp-ui-font-color1",
}
"""Which of the variables of Jupyter's themes says the same."""


def ink(state: str) -> str:
    """Return the name of the colour in which `state` is written."""
    return f"{_colour_prefix(state)}-ink"


def tint(state: str) -> str:
    """Return the name of the colour behind a word written in ``ink(state)``."""
    return f"{_colour_prefix(state)}-tint"


def _colour_prefix(state: str) -> str:
    return state.replace(" ", "_") if state in STATE_STYLES else "other"


def style(states: Iterable[str]) -> str:
    """Return the style sheet of a picture in which `states` appear."""
    light, dark = dict(LIGHT), dict(DARK)
    for state in sorted(set(states)):
        state_style = style_of(state)
        light |= {ink(state): state_style.light[0], tint(state): state_style.light[1]}
        dark |= {ink(state): state_style.dark[0], tint(state): state_style.dark[1]}
    uses = "".join(f".jpipe-f-{name}{{fill:var(--jpipe-{name})}}" for name in light)
    uses += "".join(f".jpipe-s-{name}{{stroke:var(--jpipe-{name})}}" for name in light)
    return (
        f".jpipe{{{_values(light)}}}@media(prefers-color-scheme:dark){{.jpipe{{{_values(dark)}}}}}"
        f'[data-jp-theme-light="true"] .jpipe{{{_values(light, _JUPYTER)}}}'
        f'[data-jp-theme-light="false"] .jpipe{{{_values(dark, _JUPYTER)}}}{uses}'
    )


def _values(colours: Mapping[str, str], theme: Mapping[str, str] = MappingProxyType({})) -> str:
    values = {name: f"var({theme[name]},{value})" if name in theme else value for name, value in colours.items()}
    return ";".join(f"--jpipe-{name}:{value}" for name, value in values.items())


def paint(*, fill: str = "", stroke: str = "") -> str:
    """Return the attributes that colour an element."""
    classes = [*([f"jpipe-f-{fill}"] if fill else []), *([f"jpipe-s-{stroke}"] if stroke else [])]
    values = [*([f'fill="{_light(fill)}"'] if fill else []), *([f'stroke="{_light(stroke)}"'] if stroke else [])]
    return f'class="{" ".join(classes)}" {" ".join(values)}'


def _light(name: str) -> str:
    if name in LIGHT:
        return LIGHT[name]
    state, _, kind = name.rpartition("-")
    return style_of(state.replace("_", " ")).light[0 if kind == "ink" else 1]


def rect(x: float, y: float, width: float, height: float, colours: str, *, radius: float, more: str = "") -> str:
    """Return a rectangle with round corners."""
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{radius:g}" {colours}{more}/>\n'


def path(shape: str, colours: str, more: str = "") -> str:
    """Return lines or areas."""
    return f'<path d="{shape}" {colours}{more}/>\n'


def text(
    x: float, y: float, content: str, size: float, colour: str, *, bold: bool = False, end: bool = False, hint: str = ""
) -> str:
    """Return a line of text whose base is at `y`, and which starts, or with `end` ends, at `x`."""
    if not content:
        return ""
    weight = ' font-weight="600"' if bold else ""
    anchor = ' text-anchor="end"' if end else ""
    title = f"<title>{escape(hint)}</title>" if hint else ""
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size:g}"{weight}{anchor} {paint(fill=colour)}>'
        f"{title}{escape(content)}</text>\n"
    )


def icon(state: str, x: float, y: float, size: float) -> str:
    """Return the sign of a state, `size` pixels wide, its upper left corner at `x`, `y`."""
    pen = ' fill="none" stroke-width="1.7" stroke-linecap="round" stroke-linejoin="round"'
    place = f' transform="translate({x:g} {y:g}) scale({size / 16:g})"'
    return path(style_of(state).icon, paint(stroke=ink(state)), pen + place)
