// One box of the drawing.

import { FOCUSABLE, svg, svgText } from "./elements";
import { stateClass } from "./style";
import type { GraphNode, Look, StepStatus } from "./types";
import { detailOf, lookOf, reasonsOf, shortened, timeOf } from "./words";

const NOT_DONE = new Set(["never run", "blocked", "skipped", "skip", "pending", "deciding", "ready", "waiting", "maybe", "run"]);
const FOLDED = "M9.5 1.5h-6v13h9v-10zM9.5 1.5v3h3";

export type Level = 0 | 1 | 2; // everything, no small print, no words

export class NodeBox {
  readonly element: SVGElement;
  private shown = "";
  private time: SVGElement | null = null;
  private hidden = false;
  private level: Level = 0;

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

  isAt(level: Level): boolean {
    return !this.hidden && level === this.level;
  }

  // Shows as much of it as can be read.
  showAt(level: Level): void {
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
    const label = file ? shortened(node.name, Math.floor((node.width - 30) / 6.2)) : shortened(node.name, 24);
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

  // Draws what is said of the step; nothing when the same is shown already.
  paint(status: StepStatus | undefined, looks: Record<string, Look>, place: string): void {
    const signature = JSON.stringify([status, place]);
    if (this.node.kind !== "step" || signature === this.shown) {
      return;
    }
    this.shown = signature;
    this.element.replaceChildren(...this.parts(status, looks));
    this.element.setAttribute("aria-label", this.described(status, looks, place));
    const state = status?.state ?? "";
    this.element.setAttribute("data-state", state);
    this.element.classList.toggle("jpg-open", NOT_DONE.has(state));
    this.element.classList.toggle("jpg-running", state === "running");
  }

  private parts(status: StepStatus | undefined, looks: Record<string, Look>): SVGElement[] {
    const { node } = this;
    const look = status ? lookOf(looks, status.state) : null;
    const parts: SVGElement[] = [svg("rect", { class: "jpg-box", width: node.width, height: node.height, rx: 8 })];
    const letters = Math.floor((node.width - 26) / 8.1);
    parts.push(svgText(shortened(node.name, letters), { class: "jpg-name", x: 14, y: 20 }));
    this.time = null;
    if (look && status) {
      const breadth = look.word.length * 6.7 + 30;
      const tint = svg("rect", { class: "jpg-tint", x: 11, y: 27, width: breadth, height: 17, rx: 8.5 });
      const mark = svg("path", { class: "jpg-mark", d: look.icon, fill: "none", stroke: "currentColor", "stroke-width": 1.9, "stroke-linecap": "round", "stroke-linejoin": "round" });
      const placed = svg("g", { transform: "translate(16 29.5) scale(.75)" }, mark);
      const word = svgText(look.word, { class: "jpg-word jpg-sub", x: 32, y: 39.5, style: "fill:currentColor" });
      const stripe = svg("path", { d: `M5 0h-.5a4.5 8 0 0 0-4.5 8v${node.height - 16}a4.5 8 0 0 0 4.5 8h.5z`, fill: "currentColor" });
      tint.classList.add("jpg-sub");
      parts.push(svg("g", { class: stateClass(status.state) }, stripe, tint, placed, word, ...this.progress(status)));
      this.time = svgText(timeOf(status, Date.now()), { class: "jpg-small jpg-sub", x: node.width - 10, y: 39.5, "text-anchor": "end" });
      parts.push(this.time);
    }
    if (node.height >= 60) {
      parts.push(...this.lowest(detailOf(status)));
    }
    return parts;
  }

  // What is worth a line, and what the step asks for at its end.
  private lowest(detail: string): SVGElement[] {
    const { width } = this.node;
    const letters = Math.floor((width - 24) / 5.9);
    const chips = shortened(this.chips(), detail ? Math.floor(letters * 0.4) : letters);
    const room = letters - (chips ? chips.length + 2 : 0);
    const said = svgText(shortened(detail, room), { class: "jpg-small jpg-sub", x: 14, y: 60 });
    return chips ? [said, svgText(chips, { class: "jpg-small jpg-sub jpg-chips", x: width - 10, y: 60, "text-anchor": "end" })] : [said];
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

  // Seconds go by: only their text changes.
  tick(status: StepStatus | undefined): void {
    if (this.time && status?.state === "running") {
      this.time.textContent = timeOf(status, Date.now());
    }
  }

  private chips(): string {
    const asked = Object.entries(this.node.resources ?? {});
    return asked.map(([name, value]) => (value === true ? name : `${name} ${String(value)}`)).join(" · ");
  }

  private described(status: StepStatus | undefined, looks: Record<string, Look>, place: string): string {
    const words = [this.node.name];
    if (status) {
      words.push(lookOf(looks, status.state).word, detailOf(status), timeOf(status, Date.now()));
    }
    words.push(place);
    return words.filter((one) => one).join(", ");
  }
}

// What the pointer or the focus shows of a step.
export function hintOf(node: GraphNode, status: StepStatus | undefined, looks: Record<string, Look>): string {
  const lines = [node.name];
  if (status) {
    lines.push([lookOf(looks, status.state).word, detailOf(status)].filter((one) => one).join(": "));
    for (const { text, details } of reasonsOf(status)) {
      lines.push(text, ...details.slice(0, 6).map((one) => `  ${one}`));
    }
    if (status.origin) {
      lines.push(`computed by run ${status.origin.run}`);
    }
    if (status.error?.message) {
      lines.push(`${status.error.code ?? "error"}: ${status.error.message}`);
    }
  }
  const takes = (node.inputs ?? []).map((one) => one.name).join(", ");
  const makes = (node.outputs ?? []).map((one) => one.name).join(", ");
  lines.push(takes && `takes ${takes}`, makes && `makes ${makes}`);
  return lines.filter((one) => one).join("\n");
}
