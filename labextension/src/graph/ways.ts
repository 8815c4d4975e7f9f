// How the boxes of a drawing hang together: for the keyboard, and for words.

import type { Drawing, GraphNode, Statuses } from "./types";

export type Direction = "before" | "after" | "up" | "down";

export const KEYS: Record<string, Direction> = { ArrowLeft: "before", ArrowRight: "after", ArrowUp: "up", ArrowDown: "down" };

export class Ways {
  readonly nodes = new Map<string, GraphNode>();
  private readonly before = new Map<string, string[]>();
  private readonly after = new Map<string, string[]>();

  constructor(readonly drawing: Drawing) {
    for (const node of drawing.nodes) {
      this.nodes.set(node.id, node);
      this.before.set(node.id, []);
      this.after.set(node.id, []);
    }
    for (const edge of drawing.edges) {
      if (edge.to) {
        this.before.get(edge.to)?.push(edge.from);
        this.after.get(edge.from)?.push(edge.to);
      }
    }
  }

  // Left and right follow the lines; up and down go to the next box of the same column.
  neighbour(id: string, direction: Direction): string | undefined {
    const from = this.nodes.get(id);
    if (!from) {
      return undefined;
    }
    const distance = (one: GraphNode) => Math.abs(one.y - from.y) + Math.abs(one.x - from.x) * 0.1;
    const nearest = (found: GraphNode[]) => found.sort((a, b) => distance(a) - distance(b))[0]?.id;
    if (direction === "before" || direction === "after") {
      const ids = (direction === "before" ? this.before : this.after).get(id) ?? [];
      return nearest(ids.flatMap((one) => this.nodes.get(one) ?? []));
    }
    const sign = direction === "up" ? -1 : 1;
    return nearest(this.drawing.nodes.filter((one) => (one.y - from.y) * sign > 0 && Math.abs(one.x - from.x) < from.width));
  }

  // The first and the last box that is no file.
  end(last: boolean): string | undefined {
    const steps = this.drawing.nodes.filter((one) => one.kind !== "file");
    return steps[last ? steps.length - 1 : 0]?.id;
  }

  place(id: string, total: number): string {
    const some = (ids: string[] | undefined) => (ids ?? []).slice(0, 4).join(", ");
    const order = this.nodes.get(id)?.order;
    const position = order !== undefined ? `step ${order + 1} of ${total}` : "";
    const before = some(this.before.get(id));
    const after = some(this.after.get(id));
    return [position, before && `follows ${before}`, after && `leads to ${after}`].filter((one) => one).join(", ");
  }
}

export function boundsOf(nodes: GraphNode[]): { x: number; y: number; width: number; height: number } {
  const x = Math.min(...nodes.map((one) => one.x));
  const y = Math.min(...nodes.map((one) => one.y));
  const right = Math.max(...nodes.map((one) => one.x + one.width));
  const bottom = Math.max(...nodes.map((one) => one.y + one.height));
  return { x, y, width: right - x, height: bottom - y };
}

// Steps have any name, "constructor" too.
export function merged(...parts: Statuses["steps"][]): Statuses["steps"] {
  return Object.assign(Object.create(null) as Statuses["steps"], ...parts);
}

// Where a path of M, H and c ends.
export function endOf(path: string): [number, number] {
  let x = 0;
  let y = 0;
  for (const [, kind, rest] of path.matchAll(/([MHc])([^MHc]*)/g)) {
    const numbers = rest.trim().split(/[\s,]+/).map(Number);
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
