// Which boxes of a drawing are connected: for keyboard navigation, and for its description to screen readers.

import type { GraphLayout, GraphNode, StatusDocument } from "./documents";

export type MoveDirection = "before" | "after" | "up" | "down";

export const KEYS: Record<string, MoveDirection> = { ArrowLeft: "before", ArrowRight: "after", ArrowUp: "up", ArrowDown: "down" };

export class GraphNavigation {
  readonly nodes = new Map<string, GraphNode>();
  private readonly upstream = new Map<string, string[]>();
  private readonly downstream = new Map<string, string[]>();

  constructor(readonly drawing: GraphLayout) {
    for (const node of drawing.nodes) {
      this.nodes.set(node.id, node);
      this.upstream.set(node.id, []);
      this.downstream.set(node.id, []);
    }
    for (const edge of drawing.edges) {
      if (edge.to) {
        this.upstream.get(edge.to)?.push(edge.from);
        this.downstream.get(edge.from)?.push(edge.to);
      }
    }
  }

  // Left and right follow the lines; up and down go to the next box of the same column.
  neighbour(id: string, direction: MoveDirection): string | undefined {
    const from = this.nodes.get(id);
    if (!from) {
      return undefined;
    }
    const distance = (node: GraphNode) => Math.abs(node.y - from.y) + Math.abs(node.x - from.x) * 0.1;
    const nearest = (candidates: GraphNode[]) => candidates.sort((a, b) => distance(a) - distance(b))[0]?.id;
    if (direction === "before" || direction === "after") {
      const ids = (direction === "before" ? this.upstream : this.downstream).get(id) ?? [];
      return nearest(ids.flatMap((nodeId) => this.nodes.get(nodeId) ?? []));
    }
    const sign = direction === "up" ? -1 : 1;
    return nearest(this.drawing.nodes.filter((node) => (node.y - from.y) * sign > 0 && Math.abs(node.x - from.x) < from.width));
  }

  // The first or the last box that is not a file.
  end(last: boolean): string | undefined {
    const steps = this.drawing.nodes.filter((node) => node.kind !== "file");
    return steps[last ? steps.length - 1 : 0]?.id;
  }

  positionText(id: string, total: number): string {
    const listed = (ids: string[] | undefined) => (ids ?? []).slice(0, 4).join(", ");
    const order = this.nodes.get(id)?.order;
    const position = order !== undefined ? `step ${order + 1} of ${total}` : "";
    const before = listed(this.upstream.get(id));
    const after = listed(this.downstream.get(id));
    return [position, before && `follows ${before}`, after && `leads to ${after}`].filter((part) => part).join(", ");
  }
}

export function boundsOf(nodes: GraphNode[]): { x: number; y: number; width: number; height: number } {
  const x = Math.min(...nodes.map((node) => node.x));
  const y = Math.min(...nodes.map((node) => node.y));
  const right = Math.max(...nodes.map((node) => node.x + node.width));
  const bottom = Math.max(...nodes.map((node) => node.y + node.height));
  return { x, y, width: right - x, height: bottom - y };
}

// Merges statuses by step. The result has no prototype, because a step may be named "constructor".
export function mergeSteps(...parts: StatusDocument["steps"][]): StatusDocument["steps"] {
  return Object.assign(Object.create(null) as StatusDocument["steps"], ...parts);
}

// The end point of an SVG path that consists of M, H and c commands.
export function endOf(path: string): [number, number] {
  let x = 0;
  let y = 0;
  for (const [, kind, coordinates] of path.matchAll(/([MHc])([^MHc]*)/g)) {
    const numbers = coordinates.trim().split(/[\s,]+/).map(Number);
    if (kind === "M") {
      [x, y] = numbers;
    } else if (kind === "H") {
      x = numbers[0];
    } else {
      x += numbers[4];
      y += numbers[5];
    }
  }
  return [x, y];
}
