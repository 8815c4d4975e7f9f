// The drawing as a file that needs nothing else: every colour that the style sheet gives is written to its element.

import { svg } from "./elements";

const KEPT = ["fill", "stroke", "stroke-width", "stroke-dasharray", "font-size", "font-weight", "font-family", "opacity", "text-anchor"];
const ROOM = 12;

export function pictureOf(world: SVGElement, width: number, height: number, ground: string): string {
  const copy = world.cloneNode(true) as SVGElement;
  const from = [world, ...world.querySelectorAll<SVGElement>("*")];
  const to = [copy, ...copy.querySelectorAll<SVGElement>("*")];
  to.forEach((element, index) => dressAlike(element, getComputedStyle(from[index])));
  copy.setAttribute("transform", `translate(${ROOM} ${ROOM})`);
  const size = { width: Math.ceil(width) + 2 * ROOM, height: Math.ceil(height) + 2 * ROOM };
  const picture = svg("svg", { ...size, viewBox: `0 0 ${size.width} ${size.height}` }, svg("rect", { ...size, fill: ground }), copy);
  return new XMLSerializer().serializeToString(picture).replace(CONTROL, "\ufffd");
}

// What XML cannot hold.
const CONTROL = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g;

function dressAlike(element: SVGElement, style: CSSStyleDeclaration): void {
  for (const { name } of [...element.attributes]) {
    if (["class", "style", "tabindex", "role", "display"].includes(name) || name.startsWith("data-") || name.startsWith("aria-")) {
      element.removeAttribute(name);
    }
  }
  if (element.localName !== "g" && element.localName !== "title") {
    for (const name of KEPT) {
      const value = style.getPropertyValue(name);
      if (value && value !== "none" ? true : name === "fill") {
        element.setAttribute(name, value || "none");
      }
    }
  }
}

export function saveAs(name: string, text: string): void {
  const address = URL.createObjectURL(new Blob([text], { type: "image/svg+xml" }));
  const link = document.createElement("a");
  link.href = address;
  link.download = `${name.replace(/[^\w.-]+/g, "-") || "pipeline"}.svg`;
  link.click();
  URL.revokeObjectURL(address);
}
