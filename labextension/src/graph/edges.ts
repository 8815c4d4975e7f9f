// The lines of a drawing, with arrows and the names of the values that are passed.

import { clearChildren, svg, svgText } from "./dom";
import type { GraphEdge } from "./documents";
import { endOf } from "./navigation";
import { shorten } from "./format";

const MAX_ARROWS = 1500;
const MAX_SEPARATE_LINES = 6000; // lines beyond this number share a single element: they are drawn, but highlighted only where a step is selected

interface EdgeLine {
  edge: GraphEdge;
  path: SVGElement;
  text: SVGElement | null;
  marks: string;
}

export interface EdgeHighlight {
  selected: string;
  criticalPath: Set<string>;
  filter: ((id: string) => boolean) | null;
}

export class EdgeLayer {
  readonly element = svg("g", { "aria-hidden": "true" });
  private lines: EdgeLine[] = [];
  private sharedEdges: GraphEdge[] = [];
  private readonly highlightedEdges = svg("g");

  draw(edges: GraphEdge[]): void {
    const separateEdges = edges.slice(0, MAX_SEPARATE_LINES);
    this.sharedEdges = edges.slice(MAX_SEPARATE_LINES);
    clearChildren(this.element);
    clearChildren(this.highlightedEdges);
    this.lines = separateEdges.map((edge) => this.line(edge, edges.length < MAX_ARROWS));
    if (this.sharedEdges.length) {
      this.element.prepend(svg("path", { class: "jpg-edge", d: this.sharedEdges.map((edge) => edge.path).join("") }));
    }
    this.element.append(this.highlightedEdges);
  }

  private line(edge: GraphEdge, arrow: boolean): EdgeLine {
    const path = svg("path", { class: `jpg-edge${inOrder(edge)}`, d: edge.path });
    let text: SVGElement | null = null;
    this.element.append(path);
    if (edge.to && arrow) {
      const [endX, endY] = endOf(edge.path);
      this.element.append(svg("path", { class: "jpg-arrow jpg-sub", d: `M${endX} ${endY}l-8-4v8z` }));
    }
    if (edge.label && edge.names?.length) {
      text = svgText(shorten(edge.names.join(", "), 22), { class: "jpg-label jpg-sub", x: edge.label[0] + 6, y: edge.label[1] - 4 });
      this.element.append(text);
    }
    return { edge, path, text, marks: "" };
  }

  // Only lines whose classes change are updated.
  mark(highlight: EdgeHighlight): void {
    for (const line of this.lines) {
      const marks = marksOf(line.edge, highlight);
      if (marks !== line.marks) {
        line.marks = marks;
        line.path.setAttribute("class", `jpg-edge${inOrder(line.edge)}${marks}`);
        line.text?.classList.toggle("jpg-faint", marks.includes("jpg-faint"));
      }
    }
    if (this.sharedEdges.length) {
      const touching = this.sharedEdges.filter((edge) => highlight.selected && (edge.from === highlight.selected || edge.to === highlight.selected));
      this.highlightedEdges.replaceChildren(...touching.map((edge) => svg("path", { class: "jpg-edge jpg-hot", d: edge.path })));
    }
  }
}

function inOrder(edge: GraphEdge): string {
  return edge.to && edge.names && edge.names.length === 0 ? " jpg-order" : "";
}

function marksOf(edge: GraphEdge, { selected, criticalPath, filter }: EdgeHighlight): string {
  const hot = selected && (edge.from === selected || edge.to === selected);
  const long = edge.to && criticalPath.has(edge.from) && criticalPath.has(edge.to);
  const faint = filter && !(filter(edge.from) && (!edge.to || filter(edge.to)));
  return `${hot ? " jpg-hot" : ""}${long ? " jpg-critical" : ""}${faint ? " jpg-faint" : ""}`;
}
