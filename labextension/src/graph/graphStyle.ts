// The style sheet of widget, panel and saved outputs. It takes colours from Jupyter's theme, and has fallbacks where there is none.

import type { StateStyle } from "./documents";

const BASE = `
.jpg { --jpg-panel: var(--jp-layout-color1, #fff); --jpg-card: var(--jp-layout-color1, #fff);
  --jpg-file: var(--jp-layout-color2, #f6f8fa); --jpg-rim: var(--jp-border-color1, #c9d1d9);
  --jpg-text: var(--jp-ui-font-color0, #1f2328); --jpg-soft: #57606a; --jpg-line: #78828c; --jpg-hot: #0550ae;
  --jpg-hover: var(--jp-layout-color2, #f0f2f4); --jpg-field: var(--jp-input-background, #fff);
  position: relative; display: flex; flex-direction: column; min-width: 0; color: var(--jpg-text);
  background: var(--jpg-panel); border: 1px solid var(--jpg-rim); border-radius: 8px; overflow: hidden;
  font: 13px/1.45 var(--jp-ui-font-family, system-ui, sans-serif); }
.jpg * { box-sizing: border-box; }
.jpg.jpg-dark { --jpg-panel: var(--jp-layout-color1, #0d1117); --jpg-card: var(--jp-layout-color1, #161b22);
  --jpg-file: var(--jp-layout-color2, #12171e); --jpg-rim: var(--jp-border-color1, #3d444d);
  --jpg-text: var(--jp-ui-font-color0, #f0f6fc); --jpg-soft: #b3bac2; --jpg-line: #8b949e; --jpg-hot: #79c0ff;
  --jpg-hover: var(--jp-layout-color2, #21262d); --jpg-field: var(--jp-input-background, #0d1117); }
.jpg-head { display: flex; flex-wrap: wrap; align-items: center; gap: 6px; padding: 7px 10px; border-bottom: 1px solid var(--jpg-rim); }
.jpg-title { font-weight: 600; font-size: 14px; } .jpg-headline { color: var(--jpg-soft); margin-right: auto; }
.jpg-button { font: inherit; color: var(--jpg-text); background: var(--jpg-card); border: 1px solid var(--jpg-rim);
  border-radius: 6px; padding: 2px 9px; min-height: 26px; cursor: pointer; }
.jpg-button:hover:not(:disabled) { background: var(--jpg-hover); } .jpg-button:disabled { color: var(--jpg-soft); cursor: default; opacity: .75; }
.jpg-button[aria-pressed="true"] { border-color: var(--jpg-hot); box-shadow: inset 0 0 0 1px var(--jpg-hot); }
.jpg-primary { background: #0550ae; border-color: #0550ae; color: #fff; } .jpg-primary:hover:not(:disabled) { background: #043f8a; }
.jpg-primary:disabled { background: var(--jpg-card); color: var(--jpg-soft); border-color: var(--jpg-rim); }
.jpg-field { font: inherit; color: var(--jpg-text); background: var(--jpg-field); border: 1px solid var(--jpg-rim); border-radius: 6px; padding: 2px 7px; min-height: 26px; min-width: 0; }
.jpg :focus-visible { outline: 2px solid var(--jpg-hot); outline-offset: 1px; }
.jpg-canvas { position: relative; flex: 1 1 auto; min-height: 120px; overflow: hidden; }
.jpg-svg { display: block; width: 100%; height: 100%; cursor: grab; touch-action: pan-y; user-select: none; }
.jpg-svg:active { cursor: grabbing; } .jpg-svg text { fill: var(--jpg-text); font-family: inherit; }
.jpg-edge { fill: none; stroke: var(--jpg-line); stroke-width: 1.4; } .jpg-edge.jpg-order { stroke-dasharray: 4 4; }
.jpg-edge.jpg-hot { stroke: var(--jpg-hot); stroke-width: 2.4; } .jpg-edge.jpg-critical { stroke: #b35900; stroke-width: 2.6; }
.jpg-dark .jpg-edge.jpg-critical { stroke: #f0a35e; }
.jpg-arrow { fill: var(--jpg-line); } .jpg-svg .jpg-label { font-size: 11px; fill: var(--jpg-soft); }
.jpg-node { cursor: pointer; outline: none; } .jpg-box { fill: var(--jpg-card); stroke: var(--jpg-rim); stroke-width: 1.2; }
.jpg-node.jpg-open .jpg-box { stroke-dasharray: 5 4; } .jpg-node:hover .jpg-box { fill: var(--jpg-hover); }
.jpg-node.jpg-selected .jpg-box, .jpg-node:focus-visible .jpg-box { stroke: var(--jpg-hot); stroke-width: 2.6; stroke-dasharray: none; }
.jpg-node.jpg-faint, .jpg-edge.jpg-faint { opacity: .28; } .jpg-filebox { fill: var(--jpg-file); }
.jpg-svg .jpg-name { font-size: 13.5px; font-weight: 600; } .jpg-svg .jpg-word { font-size: 11.5px; font-weight: 600; }
.jpg-svg .jpg-small { font-size: 11px; fill: var(--jpg-soft); }
.jpg-node.jpg-farther .jpg-box { stroke: var(--jpg-line); stroke-width: 3; } .jpg-far .jpg-sub { display: none; } .jpg-farther .jpg-name, .jpg-farther .jpg-mark { display: none; }
.jpg-tip { position: absolute; z-index: 5; max-width: min(360px, 90%); padding: 7px 10px; background: var(--jpg-card); color: var(--jpg-text);
  border: 1px solid var(--jpg-rim); border-radius: 6px; box-shadow: 0 3px 12px rgba(0,0,0,.25); pointer-events: none; white-space: pre-wrap; overflow-wrap: anywhere; font-size: 12px; }
.jpg-tip[hidden] { display: none; }
.jpg-live { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.jpg-rail { overflow: auto; flex: 1 1 auto; min-height: 60px; padding: 4px 0; }
.jpg-row { display: flex; align-items: center; gap: 6px; height: 28px; padding: 0 10px 0 6px; cursor: pointer; white-space: nowrap; }
.jpg-row:hover { background: var(--jpg-hover); } .jpg-row[aria-selected="true"] { background: var(--jpg-hover); box-shadow: inset 3px 0 0 var(--jpg-hot); }
.jpg-dot { fill: var(--jpg-text); stroke: var(--jpg-text); stroke-width: 1.4; } .jpg-dot-open { fill: var(--jpg-panel); }
.jpg-row:focus-visible { outline-offset: -2px; } .jpg-row .jpg-name { font-weight: 600; overflow: hidden; text-overflow: ellipsis; flex: 0 1 auto; min-width: 34px; }
.jpg-row .jpg-detail { color: var(--jpg-soft); font-size: 12px; overflow: hidden; text-overflow: ellipsis; flex: 1 1 0; min-width: 0; }
.jpg-rail { container-type: inline-size; } @container (max-width: 300px) { .jpg-row .jpg-detail, .jpg-row .jpg-saved { display: none; } }
.jpg-why + ul:empty { display: none; } .jpg-why { margin-top: 2px; }
.jpg-row .jpg-time { color: var(--jpg-soft); font-size: 12px; margin-left: auto; font-variant-numeric: tabular-nums; }
.jpg-badge { display: inline-flex; align-items: center; gap: 4px; padding: 0 6px; border-radius: 9px; font-size: 11.5px; font-weight: 600; line-height: 18px; white-space: nowrap; flex: none; }
.jpg-detailpane { padding: 8px 12px 12px; overflow: auto; border-top: 1px solid var(--jpg-rim); font-size: 12.5px; max-height: 340px; }
.jpg-detailpane h3 { margin: 2px 0 6px; font-size: 14px; display: flex; gap: 8px; align-items: center; flex-wrap: wrap; }
.jpg-detailpane h4 { margin: 10px 0 3px; font-size: 12px; color: var(--jpg-soft); font-weight: 600; }
.jpg-detailpane pre { margin: 3px 0; padding: 6px 8px; background: var(--jpg-file); border-radius: 5px; overflow: auto; max-height: 190px;
  font: 12px/1.4 var(--jp-code-font-family, monospace); white-space: pre-wrap; overflow-wrap: anywhere; color: var(--jpg-text); }
.jpg-detailpane ul { margin: 2px 0; padding-left: 18px; } .jpg-detailpane img { max-width: 100%; max-height: 260px; background: #fff; }
.jpg-scroll { overflow: auto; max-height: 230px; } .jpg-table { border-collapse: collapse; font-size: 12px; }
.jpg-table th, .jpg-table td { padding: 2px 8px; border-bottom: 1px solid var(--jpg-rim); text-align: left; white-space: nowrap; max-width: 260px; overflow: hidden; text-overflow: ellipsis; }
.jpg-actions { display: flex; gap: 6px; flex-wrap: wrap; margin: 6px 0; } .jpg-output { display: flex; gap: 8px; align-items: baseline; }
.jpg-soft { color: var(--jpg-soft); } .jpg-drag { cursor: grab; }
@media (prefers-reduced-motion: no-preference) { .jpg-running .jpg-mark { animation: jpg-turn 1.6s linear infinite; transform-box: fill-box; transform-origin: center; } }
@keyframes jpg-turn { to { transform: rotate(360deg); } }
@media (forced-colors: active) { .jpg-box, .jpg-edge { stroke: CanvasText; } .jpg-badge { border: 1px solid CanvasText; } .jpg-node.jpg-selected .jpg-box { stroke: Highlight; } }
`;

const NAME = /^[\w -]+$/;
const COLOUR = /^#[0-9a-fA-F]{3,8}$/;

// Colours of states are CSS classes, so that a change of the theme needs no repaint.
function stateRules(looks: Record<string, StateStyle>, within = ".jpg"): string {
  const dark = within === ".jpg" ? ".jpg-dark" : `${within}.jpg-dark`;
  let rules = "";
  for (const [state, look] of Object.entries(looks)) {
    if (NAME.test(state) && [...look.light, ...look.dark].every((colour) => COLOUR.test(colour))) {
      const name = stateClass(state);
      rules += `${within} .${name}{color:${look.light[0]}} ${within} .${name}.jpg-badge,${within} .${name} .jpg-tint{background:${look.light[1]};fill:${look.light[1]}}`;
      rules += `${dark} .${name}{color:${look.dark[0]}} ${dark} .${name}.jpg-badge,${dark} .${name} .jpg-tint{background:${look.dark[1]};fill:${look.dark[1]}}`;
    }
  }
  return rules;
}

export function stateClass(state: string): string {
  return `jpg-is-${state.replace(/\W/g, "_")}`;
}

let currentSheet = "";

// Adds the style sheet to the page once, and replaces it when the colours of states have changed.
export function addGraphStyle(root: Document | ShadowRoot, looks: Record<string, StateStyle>): void {
  const text = BASE + stateRules(looks);
  const parent = root instanceof Document ? root.head : root;
  let element = parent.querySelector<HTMLStyleElement>("style[data-jupyter-pipelines]");
  if (element && (text === currentSheet || Object.keys(looks).length === 0)) {
    return;
  }
  if (!element) {
    element = document.createElement("style");
    element.setAttribute("data-jupyter-pipelines", "");
    parent.append(element);
  }
  currentSheet = text;
  element.textContent = text;
}

let scopeCount = 0;

// Adds colours that apply to a single element: a saved output must not change the colours of the rest of the page.
export function addScopedStyle(element: HTMLElement, looks: Record<string, StateStyle>): void {
  addGraphStyle(document, {});
  let style = element.querySelector<HTMLStyleElement>(":scope > style");
  if (!style) {
    scopeCount += 1;
    element.dataset.looks = String(scopeCount);
    style = document.createElement("style");
    element.append(style);
  }
  style.textContent = stateRules(looks, `.jpg[data-looks="${element.dataset.looks}"]`);
}

// Whether the theme is dark, according to Jupyter; without Jupyter, according to the system.
export function isDark(): boolean {
  const theme = document.body?.getAttribute("data-jp-theme-light") ?? document.body?.getAttribute("data-vscode-theme-kind");
  if (theme === "true" || theme === "false") {
    return theme === "false";
  }
  if (theme) {
    return theme.includes("dark");
  }
  return window.matchMedia("(prefers-color-scheme: dark)").matches;
}

// Keeps the class of an element in sync with the theme; returns a function that ends it.
export function followTheme(element: HTMLElement): () => void {
  const apply = () => element.classList.toggle("jpg-dark", isDark());
  apply();
  const watcher = new MutationObserver(apply);
  watcher.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light", "data-vscode-theme-kind", "class"] });
  const media = window.matchMedia("(prefers-color-scheme: dark)");
  media.addEventListener("change", apply);
  return () => {
    watcher.disconnect();
    media.removeEventListener("change", apply);
  };
}
