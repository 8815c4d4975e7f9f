// Making elements. Texts come from notebooks of others: they are only ever set as text, and attributes one by one.

const SVG = "http://www.w3.org/2000/svg";

type Attributes = Record<string, string | number | boolean | null | undefined>;

function dress(element: Element, attributes: Attributes): void {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
}

export function html<K extends keyof HTMLElementTagNameMap>(
  name: K,
  attributes: Attributes = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(name);
  dress(made, attributes);
  made.append(...children);
  return made;
}

export function svg(name: string, attributes: Attributes = {}, ...children: Node[]): SVGElement {
  const made = document.createElementNS(SVG, name);
  dress(made, attributes);
  made.append(...children);
  return made;
}

export function svgText(text: string, attributes: Attributes): SVGElement {
  const made = svg("text", attributes);
  made.textContent = text;
  return made;
}

// JupyterLab keeps the notebook's one-letter shortcuts alive inside outputs, except in elements that say otherwise; it
// looks at each element from the focused one upward, so that every element that can be focused has to say it.
export const FOCUSABLE = { "data-lm-suppress-shortcuts": "true" };

export function button(label: string, act: () => void, more: Attributes = {}): HTMLButtonElement {
  const made = html("button", { type: "button", class: "jpg-button", ...FOCUSABLE, ...more }, label);
  made.addEventListener("click", act);
  return made;
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

export function empty(element: Element): void {
  while (element.firstChild) {
    element.removeChild(element.firstChild);
  }
}
