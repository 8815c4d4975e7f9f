// Exports the drawing as a self-contained SVG file: the styles computed from the style sheet are written into each element.

import { svg } from "./dom";

const STYLE_PROPERTIES = ["fill", "stroke", "stroke-width", "stroke-dasharray", "font-size", "font-weight", "font-family", "opacity", "text-anchor"];
const MARGIN = 12;

export function serializeSvg(world: SVGElement, width: number, height: number, background: string): string {
  const copy = world.cloneNode(true) as SVGElement;
  const from = [world, ...world.querySelectorAll<SVGElement>("*")];
  const to = [copy, ...copy.querySelectorAll<SVGElement>("*")];
  to.forEach((element, index) => inlineStyle(element, getComputedStyle(from[index])));
  copy.setAttribute("transform", `translate(${MARGIN} ${MARGIN})`);
  const size = { width: Math.ceil(width) + 2 * MARGIN, height: Math.ceil(height) + 2 * MARGIN };
  const picture = svg("svg", { ...size, viewBox: `0 0 ${size.width} ${size.height}` }, svg("rect", { ...size, fill: background }), copy);
  return new XMLSerializer().serializeToString(picture).replace(INVALID_CHARACTERS, "\ufffd");
}

// Characters that XML does not allow.
const INVALID_CHARACTERS = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g;

function inlineStyle(element: SVGElement, style: CSSStyleDeclaration): void {
  for (const { name } of [...element.attributes]) {
    if (["class", "style", "tabindex", "role", "display"].includes(name) || name.startsWith("data-") || name.startsWith("aria-")) {
      element.removeAttribute(name);
    }
  }
  if (element.localName !== "g" && element.localName !== "title") {
    for (const name of STYLE_PROPERTIES) {
      const value = style.getPropertyValue(name);
      if (value && value !== "none" ? true : name === "fill") {
        element.setAttribute(name, value || "none");
      }
    }
  }
}

export function downloadSvg(name: string, text: string): void {
  const address = URL.createObjectURL(new Blob([text], { type: "image/svg+xml" }));
  const link = document.createElement("a");
  link.href = address;
  link.download = `${name.replace(/[^\p{L}\p{M}\p{N}_.-]+/gu, "-") || "pipeline"}.svg`;
  link.click();
  URL.revokeObjectURL(address);
}
