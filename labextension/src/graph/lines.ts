// The lines of a drawing, with arrows and with what passes along them.

import { empty, svg, svgText } from "./elements";
import type { GraphEdge } from "./types";
import { endOf } from "./ways";
import { shortened } from "./words";

const MOST_ARROWS = 1500;
const MOST_APART = 6000; // lines above this number share one element: seen, but coloured only where a step is selected

interface Line {
  edge: GraphEdge;
  path: SVGElement;
  text: SVGElement | null;
  marks: string;
}

export interface Marks {
  selected: string;
  way: Set<string>;
  filter: ((id: string) => boolean) | null;
}

export class Lines {
  readonly element = svg("g", { "aria-hidden": "true" });
  private lines: Line[] = [];
  private rest: GraphEdge[] = [];
  private readonly extra = svg("g");

  draw(edges: GraphEdge[]): void {
    const apart = edges.slice(0, MOST_APART);
    this.rest = edges.slice(MOST_APART);
    empty(this.element);
    empty(this.extra);
    this.lines = apart.map((edge) => this.line(edge, edges.length < MOST_ARROWS));
    if (this.rest.length) {
      this.element.prepend(svg("path", { class: "jpg-edge", d: this.rest.map((one) => one.path).join("") }));
    }
    this.element.append(this.extra);
  }

  private line(edge: GraphEdge, arrow: boolean): Line {
    const path = svg("path", { class: `jpg-edge${inOrder(edge)}`, d: edge.path });
    let text: SVGElement | null = null;
    this.element.append(path);
    if (edge.to && arrow) {
      const [endX, endY] = endOf(edge.path);
      this.element.append(svg("path", { class: "jpg-arrow jpg-sub", d: `M${endX} ${endY}l-8-4v8z` }));
    }
    if (edge.label && edge.names?.length) {
      text = svgText(shortened(edge.names.join(", "), 22), { class: "jpg-label jpg-sub", x: edge.label[0] + 6, y: edge.label[1] - 4 });
      this.element.append(text);
    }
    return { edge, path, text, marks: "" };
  }

  // Only lines whose looks change are touched.
  mark(wanted: Marks): void {
    for (const line of this.lines) {
      const marks = marksOf(line.edge, wanted);
      if (marks !== line.marks) {
        line.marks = marks;
        line.path.setAttribute("class", `jpg-edge${inOrder(line.edge)}${marks}`);
        line.text?.classList.toggle("jpg-faint", marks.includes("jpg-faint"));
      }
    }
    if (this.rest.length) {
      const touching = this.rest.filter((one) => wanted.selected && (one.from === wanted.selected || one.to === wanted.selected));
      this.extra.replaceChildren(...touching.map((one) => svg("path", { class: "jpg-edge jpg-hot", d: one.path })));
    }
  }
}

function inOrder(edge: GraphEdge): string {
  return edge.to && edge.names && edge.names.length === 0 ? " jpg-order" : "";
}

function marksOf(edge: GraphEdge, { selected, way, filter }: Marks): string {
  const hot = selected && (edge.from === selected || edge.to === selected);
  const long = edge.to && way.has(edge.from) && way.has(edge.to);
  const faint = filter && !(filter(edge.from) && (!edge.to || filter(edge.to)));
  return `${hot ? " jpg-hot" : ""}${long ? " jpg-critical" : ""}${faint ? " jpg-faint" : ""}`;
}
