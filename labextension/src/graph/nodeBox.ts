// One box of the drawing.

import { FOCUSABLE, svg, svgText } from "./dom";
import { stateClass } from "./graphStyle";
import type { GraphNode, StateStyle, StepStatus } from "./documents";
import { stepDetail, styleOf, stepReasons, shorten, stepTime } from "./format";

const NOT_DONE = new Set(["never run", "blocked", "skipped", "skip", "pending", "deciding", "ready", "waiting", "maybe", "run"]);
const FOLDED = "M9.5 1.5h-6v13h9v-10zM9.5 1.5v3h3";

export type DetailLevel = 0 | 1 | 2; // all text, no small text, no text at all

export class NodeBox {
  readonly element: SVGElement;
  private paintedStatus = "";
  private time: SVGElement | null = null;
  private hidden = false;
  private level: DetailLevel = 0;

  constructor(readonly node: GraphNode) {
    this.element = svg("g", {
      class: `jpg-node jpg-${node.kind}`,
      transform: `translate(${node.x} ${node.y})`,
      "data-id": node.id,
      tabindex: -1,
      role: "treeitem",
      ...FOCUSABLE,
    });
    if (node.kind !== "step") {
      this.drawPlain();
    }
  }

  hide(hidden: boolean): void {
    if (hidden !== this.hidden) {
      this.hidden = hidden;
      this.element.setAttribute("display", hidden ? "none" : "");
    }
  }

  isAt(level: DetailLevel): boolean {
    return !this.hidden && level === this.level;
  }

  // Hides the text that is too small to read at this zoom level.
  setLevel(level: DetailLevel): void {
    this.hide(false);
    if (level !== this.level) {
      this.level = level;
      this.element.classList.toggle("jpg-far", level > 0);
      this.element.classList.toggle("jpg-farther", level > 1);
    }
  }

  private drawPlain(): void {
    const { node } = this;
    const file = node.kind === "file";
    const label = file ? shorten(node.name, Math.floor((node.width - 30) / 6.2)) : shorten(node.name, 24);
    this.element.append(svg("rect", { class: `jpg-box${file ? " jpg-filebox" : ""}`, width: node.width, height: node.height, rx: file ? 5 : 9 }));
    if (file) {
      const mark = svg("path", { class: "jpg-mark", d: FOLDED, transform: "translate(8 5)", fill: "none", stroke: "currentColor" });
      this.element.append(mark, svgText(label, { class: "jpg-small jpg-sub", x: 27, y: node.height / 2 + 4 }));
    } else {
      this.element.append(svgText(label, { class: "jpg-name", x: 14, y: 22 }));
      this.element.append(svgText(`${node.count ?? 0} steps`, { class: "jpg-small jpg-sub jpg-count", x: 14, y: 41 }));
    }
    this.element.setAttribute("aria-label", file ? `file ${node.name}` : `group ${node.name}, ${node.count ?? 0} steps`);
  }

  // Draws the status of the step, unless the same status is shown already.
  paint(status: StepStatus | undefined, looks: Record<string, StateStyle>, place: string): void {
    const signature = JSON.stringify([status, place]);
    if (this.node.kind !== "step" || signature === this.paintedStatus) {
      return;
    }
    this.paintedStatus = signature;
    this.element.replaceChildren(...this.parts(status, looks));
    this.element.setAttribute("aria-label", this.ariaLabel(status, looks, place));
    const state = status?.state ?? "";
    this.element.setAttribute("data-state", state);
    this.element.classList.toggle("jpg-open", NOT_DONE.has(state));
    this.element.classList.toggle("jpg-running", state === "running");
  }

  private parts(status: StepStatus | undefined, looks: Record<string, StateStyle>): SVGElement[] {
    const { node } = this;
    const style = status ? styleOf(looks, status.state) : null;
    const parts: SVGElement[] = [svg("rect", { class: "jpg-box", width: node.width, height: node.height, rx: 8 })];
    const letters = Math.floor((node.width - 26) / 8.1);
    parts.push(svgText(shorten(node.name, letters), { class: "jpg-name", x: 14, y: 20 }));
    this.time = null;
    if (style && status) {
      const breadth = style.word.length * 6.7 + 30;
      const tint = svg("rect", { class: "jpg-tint", x: 11, y: 27, width: breadth, height: 17, rx: 8.5 });
      const mark = svg("path", { class: "jpg-mark", d: style.icon, fill: "none", stroke: "currentColor", "stroke-width": 1.9, "stroke-linecap": "round", "stroke-linejoin": "round" });
      const placed = svg("g", { transform: "translate(16 29.5) scale(.75)" }, mark);
      const word = svgText(style.word, { class: "jpg-word jpg-sub", x: 32, y: 39.5, style: "fill:currentColor" });
      const stripe = svg("path", { d: `M5 0h-.5a4.5 8 0 0 0-4.5 8v${node.height - 16}a4.5 8 0 0 0 4.5 8h.5z`, fill: "currentColor" });
      tint.classList.add("jpg-sub");
      parts.push(svg("g", { class: stateClass(status.state) }, stripe, tint, placed, word, ...this.progress(status)));
      this.time = svgText(stepTime(status, Date.now()), { class: "jpg-small jpg-sub", x: node.width - 10, y: 39.5, "text-anchor": "end" });
      parts.push(this.time);
    }
    if (node.height >= 60) {
      parts.push(...this.detailLine(stepDetail(status)));
    }
    return parts;
  }

  // The last line of the box: detail of the status on the left, requested resources on the right.
  private detailLine(detail: string): SVGElement[] {
    const { width } = this.node;
    const letters = Math.floor((width - 24) / 5.9);
    const chips = shorten(this.chips(), detail ? Math.floor(letters * 0.4) : letters);
    const lettersLeft = letters - (chips ? chips.length + 2 : 0);
    const detailText = svgText(shorten(detail, lettersLeft), { class: "jpg-small jpg-sub", x: 14, y: 60 });
    return chips ? [detailText, svgText(chips, { class: "jpg-small jpg-sub jpg-chips", x: width - 10, y: 60, "text-anchor": "end" })] : [detailText];
  }

  // How many of the step's cells are done, as a thin bar.
  private progress({ cell = 0, cells = 0, state }: StepStatus): SVGElement[] {
    const { width, height } = this.node;
    if (state !== "running" || cells < 2) {
      return [];
    }
    const bar = { x: 8, y: height - 4, height: 2.5, rx: 1.25, fill: "currentColor" };
    const done = Math.min(1, Math.max(0, (cell - 1) / cells));
    return [svg("rect", { ...bar, width: width - 16, opacity: 0.25 }), svg("rect", { ...bar, class: "jpg-progress", width: ((width - 16) * done).toFixed(1) })];
  }

  // Updates the elapsed time only.
  tick(status: StepStatus | undefined): void {
    if (this.time && status?.state === "running") {
      this.time.textContent = stepTime(status, Date.now());
    }
  }

  private chips(): string {
    const resources = Object.entries(this.node.resources ?? {});
    return resources.map(([name, value]) => (value === true ? name : `${name} ${String(value)}`)).join(" · ");
  }

  private ariaLabel(status: StepStatus | undefined, looks: Record<string, StateStyle>, place: string): string {
    const words = [this.node.name];
    if (status) {
      words.push(styleOf(looks, status.state).word, stepDetail(status), stepTime(status, Date.now()));
    }
    words.push(place);
    return words.filter((part) => part).join(", ");
  }
}

// The text of the tooltip of a step.
export function tooltipText(node: GraphNode, status: StepStatus | undefined, looks: Record<string, StateStyle>): string {
  const lines = [node.name];
  if (status) {
    lines.push([styleOf(looks, status.state).word, stepDetail(status)].filter((part) => part).join(": "));
    for (const { text, details } of stepReasons(status)) {
      lines.push(text, ...details.slice(0, 6).map((detail) => `  ${detail}`));
    }
    if (status.origin) {
      lines.push(`computed by run ${status.origin.run}`);
    }
    if (status.error?.message) {
      lines.push(`${status.error.code ?? "error"}: ${status.error.message}`);
    }
  }
  const takes = (node.inputs ?? []).map((input) => input.name).join(", ");
  const makes = (node.outputs ?? []).map((output) => output.name).join(", ");
  lines.push(takes && `takes ${takes}`, makes && `makes ${makes}`);
  return lines.filter((line) => line).join("\n");
}
