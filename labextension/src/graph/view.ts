// The graph as a drawing: boxes and lines where Python put them, painted by what is said of the steps.

import { Camera } from "./camera";
import { empty, html, svg, svgText } from "./elements";
import { NodeBox, hintOf } from "./node";
import { addStyle } from "./style";
import type { Drawing, Graph, GraphEdge, GraphEvent, GraphNode, Listener, Statuses, View } from "./types";
import { Tip } from "./tip";
import { KEYS, Ways, endOf } from "./ways";
import { shortened } from "./words";

const FEW = 300; // nodes up to which all are drawn at once
const MOST_FRESH = 160; // boxes that are made within one frame; the others come with the next ones
const FAR = 0.45;
const FARTHER = 0.2;

const MOST_ARROWS = 1500;

function folded(overview: Drawing): Drawing {
  return { ...overview, nodes: overview.nodes.map((one) => ({ ...one, kind: "group" as const })) };
}

export type Filter = (id: string) => boolean;

export class GraphView implements View {
  readonly element: HTMLElement;
  readonly camera: Camera;
  selected = "";
  private graph: Graph | null = null;
  private ways = new Ways({ width: 0, height: 0, nodes: [], edges: [] });
  private statuses: Statuses = { steps: {} };
  private readonly surface: SVGElement;
  private readonly world: SVGElement;
  private readonly lines: SVGElement;
  private readonly tree: SVGElement;
  private readonly tip: Tip;
  private readonly boxes = new Map<string, NodeBox>();
  private readonly edgePaths: { edge: GraphEdge; path: SVGElement; text: SVGElement | null }[] = [];
  private readonly listeners: { event: GraphEvent; listener: Listener }[] = [];
  private readonly clock: number;
  private readonly watcher: ResizeObserver;
  private filter: Filter | null = null;
  private critical = false;
  private frame = 0;
  private fitted = false;
  whole = false; // the full drawing, although there are groups

  constructor(host: HTMLElement) {
    this.lines = svg("g", { "aria-hidden": "true" });
    this.tree = svg("g", { role: "tree", "aria-label": "steps" });
    this.world = svg("g", {}, this.lines, this.tree);
    this.surface = svg("svg", { class: "jpg-svg" }, this.world);
    this.element = html("div", { class: "jpg-canvas" }, this.surface);
    this.tip = new Tip(this.element);
    host.append(this.element);
    this.camera = new Camera(this.surface, () => this.schedule());
    this.surface.addEventListener("click", this.click);
    this.surface.addEventListener("dblclick", this.doubleClick);
    this.surface.addEventListener("keydown", this.key);
    this.surface.addEventListener("pointerover", this.hover);
    this.surface.addEventListener("pointerleave", () => this.tip.hide());
    this.surface.addEventListener("focusin", this.focusIn);
    this.surface.addEventListener("focusout", () => this.tip.hide());
    this.watcher = new ResizeObserver(() => this.resized());
    this.watcher.observe(this.element);
    this.clock = window.setInterval(() => this.tick(), 1000);
  }

  on(event: GraphEvent, listener: Listener): void {
    this.listeners.push({ event, listener });
  }

  setGraph(graph: Graph): void {
    const moved = !this.graph || graph.width !== this.graph.width || graph.height !== this.graph.height;
    this.graph = graph;
    addStyle(this.element.getRootNode() instanceof ShadowRoot ? (this.element.getRootNode() as ShadowRoot) : document, graph.looks);
    this.rebuild();
    if (moved) {
      this.fitted = false;
      this.fit();
    }
  }

  setStatuses(statuses: Statuses): void {
    const steps = { ...this.statuses.steps, ...statuses.steps };
    this.statuses = { ...this.statuses, ...statuses, steps };
    for (const [id, box] of this.boxes) {
      box.paint(steps[id], this.looks, this.place(id));
    }
    this.mark();
  }

  get looks() {
    return this.graph?.looks ?? {};
  }

  get overviewShown(): boolean {
    return Boolean(this.graph?.overview) && !this.whole;
  }

  private rebuild(): void {
    const graph = this.graph as Graph;
    this.ways = new Ways(this.overviewShown && graph.overview ? folded(graph.overview) : graph);
    this.boxes.clear();
    this.edgePaths.length = 0;
    empty(this.lines);
    empty(this.tree);
    this.drawEdges();
    this.schedule(true);
  }

  private drawEdges(): void {
    const shown = this.ways.drawing.edges.length < 6000 ? this.ways.drawing.edges : this.ways.drawing.edges.slice(0, 6000);
    for (const edge of shown) {
      const path = svg("path", { class: `jpg-edge${edge.to && edge.names && edge.names.length === 0 ? " jpg-order" : ""}`, d: edge.path });
      let text: SVGElement | null = null;
      this.lines.append(path);
      if (edge.to && shown.length < MOST_ARROWS) {
        const [endX, endY] = endOf(edge.path);
        this.lines.append(svg("path", { class: "jpg-arrow jpg-sub", d: `M${endX} ${endY}l-8-4v8z` }));
      }
      if (edge.label && edge.names?.length) {
        text = svgText(shortened(edge.names.join(", "), 22), { class: "jpg-label jpg-sub", x: edge.label[0] + 6, y: edge.label[1] - 4 });
        this.lines.append(text);
      }
      this.edgePaths.push({ edge, path, text });
    }
  }

  private schedule(now = false): void {
    if (now) {
      cancelAnimationFrame(this.frame);
      this.frame = 0;
      this.draw();
    } else if (!this.frame) {
      this.frame = requestAnimationFrame(() => {
        this.frame = 0;
        this.draw();
      });
    }
  }

  // Moves the drawing, and makes the boxes that have come into sight.
  private draw(): void {
    const { x, y, scale } = this.camera;
    this.world.setAttribute("transform", `translate(${x.toFixed(1)} ${y.toFixed(1)}) scale(${scale.toFixed(4)})`);
    this.surface.classList.toggle("jpg-far", scale < FAR);
    this.surface.classList.toggle("jpg-farther", scale < FARTHER);
    const all = this.ways.drawing.nodes.length <= FEW;
    const seen = this.camera.seen;
    let fresh = 0;
    for (const node of this.ways.drawing.nodes) {
      const visible = all || (node.x < seen.x + seen.width && node.x + node.width > seen.x && node.y < seen.y + seen.height && node.y + node.height > seen.y);
      const box = this.boxes.get(node.id);
      if (visible && !box) {
        fresh += 1;
        if (fresh <= MOST_FRESH) {
          this.boxOf(node.id);
        }
      } else if (box) {
        const hidden = box.element.getAttribute("display") === "none";
        if (visible === hidden) {
          box.element.setAttribute("display", visible ? "" : "none");
        }
      }
    }
    if (fresh > MOST_FRESH) {
      this.schedule();
    }
  }

  private boxOf(id: string): NodeBox | null {
    const found = this.boxes.get(id);
    const node = this.ways.nodes.get(id);
    if (found || !node) {
      return found ?? null;
    }
    const box = new NodeBox(node);
    box.paint(this.statuses.steps[id], this.looks, this.place(id));
    box.element.classList.toggle("jpg-selected", id === this.selected);
    box.element.classList.toggle("jpg-faint", Boolean(this.filter && !this.filter(id)));
    box.element.setAttribute("aria-selected", String(id === this.selected));
    this.boxes.set(id, box);
    this.tree.append(box.element);
    if (id === this.selected || (!this.selected && this.boxes.size === 1)) {
      box.element.setAttribute("tabindex", "0");
    }
    return box;
  }

  private place(id: string): string {
    return this.ways.place(id, this.graph?.rails.length ?? 0);
  }

  select(id: string): void {
    if (this.overviewShown && id && !this.ways.nodes.has(id)) {
      this.whole = true;
      this.rebuild();
    }
    for (const one of [this.selected, id]) {
      const box = this.boxOf(one);
      box?.element.classList.toggle("jpg-selected", one === id);
      box?.element.setAttribute("aria-selected", String(one === id));
      box?.element.setAttribute("tabindex", one === id ? "0" : "-1");
    }
    if (id) {
      this.tree.querySelectorAll('[tabindex="0"]').forEach((one) => one.getAttribute("data-id") !== id && one.setAttribute("tabindex", "-1"));
    }
    this.selected = id;
    this.mark();
  }

  // Steps that do not pass the filter fade; null shows all.
  setFilter(filter: Filter | null): void {
    this.filter = filter;
    for (const [id, box] of this.boxes) {
      box.element.classList.toggle("jpg-faint", Boolean(filter && !filter(id)));
    }
    this.mark();
  }

  showCritical(on: boolean): void {
    this.critical = on;
    this.mark();
  }

  private mark(): void {
    const way = new Set(this.critical ? (this.statuses.critical ?? []) : []);
    for (const { edge, path, text } of this.edgePaths) {
      const hot = Boolean(this.selected) && (edge.from === this.selected || edge.to === this.selected);
      path.classList.toggle("jpg-hot", hot);
      path.classList.toggle("jpg-critical", way.has(edge.from) && Boolean(edge.to) && way.has(edge.to as string));
      const faint = Boolean(this.filter && !(this.filter(edge.from) && (!edge.to || this.filter(edge.to))));
      path.classList.toggle("jpg-faint", faint);
      text?.classList.toggle("jpg-faint", faint);
    }
  }

  fit(): void {
    if (this.element.clientWidth > 0) {
      this.fitted = true;
      this.camera.fit(this.ways.drawing.width, this.ways.drawing.height);
    }
  }

  // Height that shows the whole drawing at the width there is.
  naturalHeight(width: number): number {
    const { drawing } = this.ways;
    return drawing.width > 0 ? drawing.height * Math.min(1, Math.max(width / drawing.width, 0.45)) : 0;
  }

  focus(id: string): void {
    const box = this.boxOf(id);
    if (box) {
      this.camera.show(box.node);
      this.select(id);
      box.element.setAttribute("display", "");
      box.element.focus({ preventScroll: true });
      this.emit("select", id);
    }
  }

  toggleWhole(whole: boolean): void {
    this.whole = whole;
    this.rebuild();
    this.fit();
  }

  private openGroup(id: string): void {
    const group = this.graph?.groups.find((one) => one.id === id);
    this.whole = true;
    this.rebuild();
    const members = (group?.steps ?? []).map((one) => this.ways.nodes.get(one)).filter((one): one is GraphNode => Boolean(one));
    const left = Math.min(...members.map((one) => one.x));
    const top = Math.min(...members.map((one) => one.y));
    const right = Math.max(...members.map((one) => one.x + one.width));
    const bottom = Math.max(...members.map((one) => one.y + one.height));
    const room = this.camera.size;
    this.camera.scale = Math.max(FAR, Math.min(1, room.width / (right - left + 60), room.height / (bottom - top + 60)));
    this.camera.show({ x: left, y: top, width: right - left, height: bottom - top }, true);
    if (members.length) {
      this.focus(members[0].id);
    }
  }

  private idAt(event: Event): string {
    const box = (event.target as Element | null)?.closest?.(".jpg-node");
    return box?.getAttribute("data-id") ?? "";
  }

  private readonly click = (event: Event): void => {
    const id = this.idAt(event);
    this.tip.hide();
    if (id && this.overviewShown) {
      this.openGroup(id);
    } else if (id) {
      this.focus(id);
    }
  };

  private readonly doubleClick = (event: Event): void => {
    const id = this.idAt(event);
    if (id) {
      this.emit("open", id);
    }
  };

  private readonly key = (event: Event): void => {
    const press = event as KeyboardEvent;
    const id = this.idAt(event);
    if (press.ctrlKey || press.metaKey || press.altKey || !this.act(press.key, id)) {
      return;
    }
    press.preventDefault();
    press.stopPropagation();
  };

  private act(key: string, id: string): boolean {
    if (key in KEYS && id) {
      this.focus(this.ways.neighbour(id, KEYS[key]) ?? id);
      return true;
    }
    switch (key) {
      case "Home":
      case "End":
        this.focus(this.ways.end(key === "End") ?? id);
        return true;
      case "Enter":
        if (this.overviewShown) {
          this.openGroup(id);
        } else if (id) {
          this.emit("open", id);
        }
        return true;
      case "+":
      case "=":
        this.camera.zoom(1.25);
        return true;
      case "-":
        this.camera.zoom(0.8);
        return true;
      case "0":
        this.fit();
        return true;
      case "Escape":
        this.tip.hide();
        return this.select(""), true;
      default:
        return false;
    }
  }

  private readonly hover = (event: Event): void => {
    const id = this.idAt(event);
    this.tip.later(this.hint(id), this.boxes.get(id)?.element);
  };

  private readonly focusIn = (event: Event): void => {
    if ((event.target as Element).matches(":focus-visible")) {
      const id = this.idAt(event);
      this.tip.show(this.hint(id), this.boxes.get(id)?.element);
    }
  };

  private hint(id: string): string {
    const node = this.ways.nodes.get(id);
    return node ? hintOf(node, this.statuses.steps[id], this.looks) : "";
  }

  private tick(): void {
    for (const [id, box] of this.boxes) {
      box.tick(this.statuses.steps[id]);
    }
  }

  private resized(): void {
    if (!this.fitted) {
      this.fit();
    } else {
      this.schedule();
    }
  }

  private emit(event: GraphEvent, id: string): void {
    this.listeners.filter((one) => one.event === event).forEach((one) => one.listener(id));
  }

  dispose(): void {
    window.clearInterval(this.clock);
    this.tip.dispose();
    cancelAnimationFrame(this.frame);
    this.watcher.disconnect();
    this.camera.dispose();
    this.element.remove();
  }
}
