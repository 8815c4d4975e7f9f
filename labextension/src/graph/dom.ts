// Creates HTML and SVG elements. Texts come from untrusted notebooks: they are set as text only, never as markup, and each attribute by itself.

const SVG = "http://www.w3.org/2000/svg";

type ElementAttributes = Record<string, string | number | boolean | null | undefined>;

function setAttributes(element: Element, attributes: ElementAttributes): void {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
}

export function html<K extends keyof HTMLElementTagNameMap>(
  name: K,
  attributes: ElementAttributes = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(name);
  setAttributes(element, attributes);
  element.append(...children);
  return element;
}

export function svg(name: string, attributes: ElementAttributes = {}, ...children: Node[]): SVGElement {
  const element = document.createElementNS(SVG, name);
  setAttributes(element, attributes);
  element.append(...children);
  return element;
}

export function svgText(text: string, attributes: ElementAttributes): SVGElement {
  const element = svg("text", attributes);
  element.textContent = text;
  return element;
}

// JupyterLab keeps the notebook's one-letter shortcuts alive inside outputs, except in elements that say otherwise; it
// looks at each element from the focused one upward, so that every element that can be focused has to say it.
export const FOCUSABLE = { "data-lm-suppress-shortcuts": "true" };

export function button(label: string, act: () => void, more: ElementAttributes = {}): HTMLButtonElement {
  const element = html("button", { type: "button", class: "jpg-button", ...FOCUSABLE, ...more }, label);
  element.addEventListener("click", act);
  return element;
}

export function icon(path: string, size = 16): SVGElement {
  const shape = svg("path", {
    d: path,
    fill: "none",
    stroke: "currentColor",
    "stroke-width": 1.7,
    "stroke-linecap": "round",
    "stroke-linejoin": "round",
  });
  return svg("svg", { viewBox: "0 0 16 16", width: size, height: size, "aria-hidden": "true", class: "jpg-icon" }, shape);
}

export function clearChildren(element: Element): void {
  while (element.firstChild) {
    element.removeChild(element.firstChild);
  }
}
