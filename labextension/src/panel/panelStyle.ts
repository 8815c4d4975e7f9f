// Style sheet of the side panel, in addition to that of the graph.

export const PANEL_STYLE = `
.jpp { height: 100%; overflow: auto; background: var(--jp-layout-color1); } .jpp .jpg { border: 0; border-radius: 0; min-height: 100%; }
.jpp-top { padding: 8px 10px; border-bottom: 1px solid var(--jpg-rim); position: sticky; top: 0; background: var(--jpg-panel); z-index: 2; }
.jpp-top h2 { font-size: 14px; margin: 0 0 2px; overflow-wrap: anywhere; } .jpp-state { color: var(--jpg-soft); min-height: 19px; }
.jpp-buttons:not([hidden]) { display: flex; gap: 5px; flex-wrap: wrap; margin-top: 6px; } .jpp-buttons .jpg-button { padding: 2px 8px; }
.jpp-trouble { margin: 6px 0 0; padding: 5px 8px; border-left: 3px solid #a40e26; overflow-wrap: anywhere; white-space: pre-wrap; }
.jpp details { border-bottom: 1px solid var(--jpg-rim); } .jpp summary { padding: 6px 10px; font-weight: 600; cursor: pointer; } .jpp details > div { padding: 2px 10px 8px; }
.jpp-empty { padding: 12px 14px; } .jpp-empty p { margin: 0 0 8px; }
.jpp-parameter { display: grid; grid-template-columns: minmax(70px, auto) 1fr; gap: 2px 8px; align-items: center; margin: 5px 0; } .jpp-parameter > div { grid-column: 2; font-size: 11.5px; overflow-wrap: anywhere; }
.jpp-wrong { color: #a40e26; } .jpg-dark .jpp-wrong { color: #ff938a; } .jpp-parameter .jpg-field { width: 100%; }
.jpp-problem { display: flex; flex-direction: column; width: 100%; text-align: left; font: inherit; background: none; border: 0; border-left: 3px solid #a40e26; padding: 4px 8px; margin: 3px 0; color: var(--jpg-text); cursor: pointer; overflow-wrap: anywhere; }
.jpp-problem:hover { background: var(--jpg-hover); } .jpp-warning { border-left-color: #b35900; } .jpp-code { font-weight: 600; font-size: 11.5px; }
.jpp-runrow { display: flex; gap: 5px; align-items: flex-start; margin: 2px 0; } .jpp-runrow input { margin: 7px 0 0; }
.jpp-run { flex: 1 1 auto; min-width: 0; display: flex; flex-direction: column; text-align: left; font: inherit; font-size: 12px; color: inherit; background: none; border: 0; border-radius: 5px; padding: 3px 6px; cursor: pointer; overflow-wrap: anywhere; } .jpp-run:hover, .jpp-run[aria-expanded="true"] { background: var(--jpg-hover); }
.jpp-runline { display: flex; gap: 7px; align-items: center; width: 100%; } .jpp-given { overflow-wrap: anywhere; }
.jpp-gantt { margin: 6px 0; font-size: 12px; } .jpp-ganttrow { display: grid; grid-template-columns: minmax(56px, 30%) 1fr 44px; gap: 6px; align-items: center; width: 100%; padding: 2px 0; border: 0; background: none; font: inherit; color: inherit; text-align: left; cursor: pointer; } .jpp-ganttrow:hover { background: var(--jpg-hover); }
.jpp-ganttname { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; } .jpp-ganttime { margin-left: auto; text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.jpp-track { position: relative; height: 12px; background: var(--jpg-file); border-radius: 3px; } .jpp-bar { position: absolute; top: 0; height: 100%; min-width: 3px; border-radius: 3px; background: currentColor; }
.jpp-scale { display: flex; justify-content: space-between; padding: 0 50px 0 calc(max(56px, 30%) + 6px); font-size: 11px; }
.jpp-titles { display: flex; gap: 6px; align-items: flex-start; } .jpp-titles h2 { flex: 1 1 auto; } .jpp-note { margin: 6px 0 0; padding: 5px 8px; border-left: 3px solid #b35900; }
.jpp-rails .jpg-rail { max-height: 46vh; }
.jpp .jpg-detailpane { max-height: none; } .jpp .jpg-canvas ~ .jpg-detailpane { max-height: 42%; flex: none; } .jpp-runs pre { font: 12px/1.4 var(--jp-code-font-family, monospace); white-space: pre; overflow: auto; max-height: 60vh; background: var(--jpg-file); padding: 6px; border-radius: 5px; }
.jpc-badges { display: flex; gap: 6px; align-items: center; flex-wrap: wrap; padding: 2px 0; font: 12px/1.4 var(--jp-ui-font-family, sans-serif); }
.jpc-badges.jpg { border: 0; background: none; flex-direction: row; overflow: visible; }
.jpc-badges button { font: inherit; border: 1px solid transparent; cursor: pointer; max-width: 100%; } .jpc-badges .jpg-detail { color: var(--jpg-soft); overflow: hidden; text-overflow: ellipsis; white-space: nowrap; max-width: 60ch; }
.jp-pipelines-icon { width: 18px; height: 18px; background: var(--jp-inverse-layout-color3, #616161); -webkit-mask: url("data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16' fill='none' stroke='black' stroke-width='1.6'%3E%3Ccircle cx='3.5' cy='8' r='2'/%3E%3Ccircle cx='12.5' cy='3.5' r='2'/%3E%3Ccircle cx='12.5' cy='12.5' r='2'/%3E%3Cpath d='M5.5 8h2c2 0 1-4.500 3-4.500M7.500 8c2 0 1 4.500 3 4.500'/%3E%3C/svg%3E") center / 18px no-repeat; mask: url("data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16' fill='none' stroke='black' stroke-width='1.6'%3E%3Ccircle cx='3.5' cy='8' r='2'/%3E%3Ccircle cx='12.5' cy='3.5' r='2'/%3E%3Ccircle cx='12.5' cy='12.5' r='2'/%3E%3Cpath d='M5.5 8h2c2 0 1-4.500 3-4.500M7.500 8c2 0 1 4.500 3 4.500'/%3E%3C/svg%3E") center / 18px no-repeat; }
.jp-pipelines-page { width: 100%; height: 100%; border: 0; background: #fff; }
`;

export function addPanelStyle(): void {
  if (!document.head.querySelector("style[data-jupyter-pipelines-panel]")) {
    const element = document.createElement("style");
    element.setAttribute("data-jupyter-pipelines-panel", "");
    element.textContent = PANEL_STYLE;
    document.head.append(element);
  }
}
