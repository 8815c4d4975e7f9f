// The graph as a drawing: boxes and lines where Python put them, painted by what is said of the steps.

import { Camera } from "./camera";
import { empty, html, svg } from "./elements";
import { Lines } from "./lines";
import { pictureOf } from "./picture";
import { NodeBox, hintOf } from "./node";
import { addStyle } from "./style";
import type { Drawing, Graph, GraphEvent, GraphNode, Listener, Statuses, View } from "./types";
import { Tip } from "./tip";
import { KEYS, Ways, boundsOf, merged } from "./ways";

const FEW = 300; // nodes up to which all are drawn at once
const MOST_FRESH = 160; // boxes that are made, or shown otherwise, within one frame; the others come with the next ones
const FAR = 0.45;
const FARTHER = 0.2;

function folded(overview: Drawing): Drawing {
  return { ...overview, nodes: overview.nodes.map((one) => ({ ...one, kind: "group" as const })) };
}

export class GraphView implements View {
  readonly element: HTMLElement;
  readonly camera: Camera;
  selected = "";
  private graph: Graph | null = null;
  private ways = new Ways({ width: 0, height: 0, nodes: [], edges: [] });
  private statuses: Statuses = { steps: merged() };
  private readonly surface: SVGElement;
  private readonly world: SVGElement;
  private readonly lines = new Lines();
  private readonly tree: SVGElement;
  private readonly tip: Tip;
  private readonly boxes = new Map<string, NodeBox>();
  private stop = "";
  private readonly listeners: { event: GraphEvent; listener: Listener }[] = [];
  private readonly clock: number;
  private readonly watcher: ResizeObserver;
  private filter: ((id: string) => boolean) | null = null;
  private critical = false;
  private frame = 0;
  private fitted = false;
  foreign = false; // the graph comes with colours of its own, which its board keeps to itself
  whole = false; // the full drawing, although there are groups

  constructor(host: HTMLElement) {
    this.tree = svg("g", { role: "tree", "aria-label": "steps" });
    this.world = svg("g", {}, this.lines.element, this.tree);
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
    const root = this.element.getRootNode();
    addStyle(root instanceof ShadowRoot ? root : document, this.foreign ? {} : graph.looks);
    const kept = graph.nodes.some((one) => one.id === this.selected) ? this.selected : "";
    const lost = kept !== this.selected;
    this.selected = kept;
    this.rebuild();
    lost && this.emit("select", "");
    if (moved) {
      this.fitted = false;
      this.fit();
    }
  }

  setStatuses(statuses: Statuses): void {
    const steps = merged(this.statuses.steps, statuses.steps);
    this.statuses = { ...this.statuses, ...statuses, steps };
    for (const id of Object.keys(statuses.steps)) {
      this.boxes.get(id)?.paint(steps[id], this.looks, this.place(id));
    }
    if (statuses.critical) {
      this.mark();
    }
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
    const root = this.element.getRootNode() as Document | ShadowRoot;
    const held = this.tree.contains(root.activeElement);
    this.boxes.clear();
    empty(this.tree);
    this.lines.draw(this.ways.drawing.edges);
    this.stopAt(this.defaultStop());
    this.schedule(true);
    this.mark();
    if (held) {
      this.boxes.get(this.stop)?.element.focus({ preventScroll: true });
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
    const { x, y, scale, seen } = this.camera; // sizes are read before anything is written
    this.world.setAttribute("transform", `translate(${x.toFixed(1)} ${y.toFixed(1)}) scale(${scale.toFixed(4)})`);
    this.lines.element.classList.toggle("jpg-far", scale < FAR);
    const level = scale < FARTHER ? 2 : scale < FAR ? 1 : 0;
    const all = this.ways.drawing.nodes.length <= FEW;
    let fresh = 0;
    for (const node of this.ways.drawing.nodes) {
      const visible = all || node.id === this.stop || (node.x < seen.x + seen.width && node.x + node.width > seen.x && node.y < seen.y + seen.height && node.y + node.height > seen.y);
      const box = this.boxes.get(node.id);
      if (!visible) {
        box?.hide(true);
      } else if (!box?.isAt(level)) {
        fresh += 1;
        if (fresh <= MOST_FRESH) {
          this.boxOf(node.id)?.showAt(level);
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
    if (id === this.stop) {
      box.element.setAttribute("tabindex", "0");
    }
    return box;
  }

  private place(id: string): string {
    return this.ways.place(id, this.graph?.rails.length ?? 0);
  }

  select(id: string): void {
    if (this.overviewShown && !this.ways.nodes.has(id) && this.graph?.nodes.some((one) => one.id === id)) {
      this.whole = true;
      this.rebuild();
    }
    for (const one of [this.selected, id]) {
      const box = this.boxOf(one);
      box?.element.classList.toggle("jpg-selected", one === id);
      box?.element.setAttribute("aria-selected", String(one === id));
    }
    this.selected = id;
    this.stopAt(this.ways.nodes.has(id) ? id : this.stop);
    this.mark();
  }

  // The one box that Tab reaches. There is always one, it is always made, and it is never hidden.
  private stopAt(id: string): void {
    this.boxes.get(this.stop)?.element.setAttribute("tabindex", "-1");
    this.stop = id;
    const box = this.boxOf(id);
    box?.element.setAttribute("tabindex", "0");
    box?.hide(false);
  }

  private defaultStop(): string {
    const { nodes } = this.ways;
    const group = this.graph?.groups.find((one) => one.steps.includes(this.stop))?.id ?? "";
    return [this.stop, this.selected, group].find((one) => nodes.has(one)) ?? this.ways.end(false) ?? nodes.keys().next().value ?? "";
  }

  // Steps that do not pass the filter fade; null shows all.
  setFilter(filter: typeof this.filter): void {
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
    this.lines.mark({ selected: this.selected, way, filter: this.filter });
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
      box.element.focus({ preventScroll: true });
      this.emit("select", id);
    }
  }

  // The whole drawing as a file, whatever of it is seen just now.
  picture(ground: string): string {
    const { drawing, nodes } = this.ways;
    this.lines.element.classList.remove("jpg-far");
    for (const id of nodes.keys()) {
      this.boxOf(id)?.showAt(0);
    }
    const made = pictureOf(this.world, drawing.width, drawing.height, ground);
    this.schedule();
    return made;
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
    if (members.length) {
      const bounds = boundsOf(members);
      const room = this.camera.size;
      this.camera.scale = Math.max(FAR, Math.min(1, room.width / (bounds.width + 60), room.height / (bounds.height + 60)));
      this.camera.show(bounds, true);
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
        if (this.selected) {
          this.select("");
          this.emit("select", "");
        }
        return true;
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
