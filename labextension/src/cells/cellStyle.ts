// Style sheet of the badges and of the header form.

const STYLE = `
.jp-Cell .jp-CellHeader:has(> .jpc-badges) { height: auto; overflow: visible; padding-left: calc(var(--jp-cell-prompt-width, 64px) + var(--jp-cell-collapser-width, 8px) + 6px); }
.jpg.jpc-badges { display: flex; flex-direction: row; flex-wrap: wrap; gap: 6px; align-items: center; border: 0; border-radius: 0; background: none; overflow: visible; padding: 3px 2px 2px; font-size: 12px; }
.jpc-badge { border: 1px solid transparent; font-family: inherit; cursor: pointer; max-width: 100%; } .jpc-badge:hover { border-color: currentColor; }
.jpc-badges .jpg-detail { color: var(--jpg-soft); overflow: hidden; text-overflow: ellipsis; white-space: nowrap; max-width: 60ch; }
.jpc-fault { color: #a40e26; overflow-wrap: anywhere; } .jpc-fault.jpp-warning { color: #8a4600; border: 0; }
.jpg-dark .jpc-fault { color: #ff938a; } .jpg-dark .jpc-fault.jpp-warning { color: #e3b341; }
.jpc-form { display: block; width: min(560px, 80vw); } .jpc-field { display: grid; grid-template-columns: 110px 1fr; gap: 2px 8px; align-items: center; margin: 6px 0; }
.jpc-field small { grid-column: 2; color: var(--jp-ui-font-color1); } .jpc-field input[type="text"] { width: 100%; box-sizing: border-box; } .jpc-flag { display: block; margin: 4px 0; }
.jpc-form summary { cursor: pointer; padding: 4px 0; } .jpc-preview { font: 12px/1.4 var(--jp-code-font-family, monospace); background: var(--jp-layout-color2); padding: 6px 8px; border-radius: 4px; white-space: pre-wrap; min-height: 18px; }
.jpc-wrong { color: var(--jp-error-color0, #a40e26); white-space: pre-wrap; min-height: 18px; font-size: 12px; }
.jpc-hover { padding: 4px 8px; white-space: pre-wrap; max-width: 46ch; font: 12px/1.4 var(--jp-ui-font-family, sans-serif); }
`;

export function addCellStyle(): void {
  if (!document.head.querySelector("style[data-jupyter-pipelines-cells]")) {
    const element = document.createElement("style");
    element.setAttribute("data-jupyter-pipelines-cells", "");
    element.textContent = STYLE;
    document.head.append(element);
  }
}
