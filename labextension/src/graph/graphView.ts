// The graph as an SVG drawing: boxes and lines at the coordinates that Python computed, coloured by the state of each step.

import { GraphCamera } from "./graphCamera";
import { clearChildren, html, svg } from "./dom";
import { EdgeLayer } from "./edges";
import { serializeSvg } from "./exportSvg";
import { NodeBox, tooltipText } from "./nodeBox";
import { addGraphStyle } from "./graphStyle";
import type { GraphLayout, GraphDocument, GraphEvent, GraphNode, GraphListener, StatusDocument, PipelineView } from "./documents";
import { StepTooltip } from "./tooltip";
import { KEYS, GraphNavigation, boundsOf, mergeSteps } from "./navigation";

const DRAW_ALL_UP_TO = 300; // nodes up to which all are drawn at once
const MAX_NEW_BOXES = 160; // boxes that are created or redrawn within a frame; the remaining ones follow in the next frames
const FAR = 0.45;
const FARTHER = 0.2;

function asGroups(overview: GraphLayout): GraphLayout {
  return { ...overview, nodes: overview.nodes.map((node) => ({ ...node, kind: "group" as const })) };
}

export class GraphView implements PipelineView {
  readonly element: HTMLElement;
  readonly camera: GraphCamera;
  selected = "";
  private graph: GraphDocument | null = null;
  private navigation = new GraphNavigation({ width: 0, height: 0, nodes: [], edges: [] });
  private statuses: StatusDocument = { steps: mergeSteps() };
  private readonly surface: SVGElement;
  private readonly world: SVGElement;
  private readonly edges = new EdgeLayer();
  private readonly tree: SVGElement;
  private readonly tooltip: StepTooltip;
  private readonly boxes = new Map<string, NodeBox>();
  private tabStop = "";
  private readonly listeners: { event: GraphEvent; listener: GraphListener }[] = [];
  private readonly timer: number;
  private readonly resizeObserver: ResizeObserver;
  private filter: ((id: string) => boolean) | null = null;
  private showsCritical = false;
  private frame = 0;
  private isFitted = false;
  hasOwnColours = false; // a saved output brings its own colours, which apply to its own panel only
  showsAllSteps = false; // the full drawing, although there are groups

  constructor(host: HTMLElement) {
    this.tree = svg("g", { role: "tree", "aria-label": "steps" });
    this.world = svg("g", {}, this.edges.element, this.tree);
    this.surface = svg("svg", { class: "jpg-svg" }, this.world);
    this.element = html("div", { class: "jpg-canvas" }, this.surface);
    this.tooltip = new StepTooltip(this.element);
    host.append(this.element);
    this.camera = new GraphCamera(this.surface, () => this.schedule());
    this.surface.addEventListener("click", this.onClick);
    this.surface.addEventListener("dblclick", this.onDoubleClick);
    this.surface.addEventListener("keydown", this.onKey);
    this.surface.addEventListener("pointerover", this.onHover);
    this.surface.addEventListener("pointerleave", () => this.tooltip.hide());
    this.surface.addEventListener("focusin", this.onFocusIn);
    this.surface.addEventListener("focusout", () => this.tooltip.hide());
    this.resizeObserver = new ResizeObserver(() => this.onResize());
    this.resizeObserver.observe(this.element);
    this.timer = window.setInterval(() => this.tick(), 1000);
  }

  on(event: GraphEvent, listener: GraphListener): void {
    this.listeners.push({ event, listener });
  }

  setGraph(graph: GraphDocument): void {
    const moved = !this.graph || graph.width !== this.graph.width || graph.height !== this.graph.height;
    this.graph = graph;
    const root = this.element.getRootNode();
    addGraphStyle(root instanceof ShadowRoot ? root : document, this.hasOwnColours ? {} : graph.looks);
    const selected = graph.nodes.some((node) => node.id === this.selected) ? this.selected : "";
    const wasCleared = selected !== this.selected;
    this.selected = selected;
    this.rebuild();
    wasCleared && this.emit("select", "");
    if (moved) {
      this.isFitted = false;
      this.fit();
    }
  }

  setStatuses(statuses: StatusDocument): void {
    const steps = mergeSteps(this.statuses.steps, statuses.steps);
    this.statuses = { ...this.statuses, ...statuses, steps };
    for (const id of Object.keys(statuses.steps)) {
      this.boxes.get(id)?.paint(steps[id], this.looks, this.positionText(id));
    }
    if (statuses.critical) {
      this.highlightEdges();
    }
  }

  get looks() {
    return this.graph?.looks ?? {};
  }

  get overviewShown(): boolean {
    return Boolean(this.graph?.overview) && !this.showsAllSteps;
  }

  private rebuild(): void {
    const graph = this.graph as GraphDocument;
    this.navigation = new GraphNavigation(this.overviewShown && graph.overview ? asGroups(graph.overview) : graph);
    const root = this.element.getRootNode() as Document | ShadowRoot;
    const hadFocus = this.tree.contains(root.activeElement);
    this.boxes.clear();
    clearChildren(this.tree);
    this.edges.draw(this.navigation.drawing.edges);
    this.moveTabStop(this.defaultTabStop());
    this.schedule(true);
    this.highlightEdges();
    if (hadFocus) {
      this.boxes.get(this.tabStop)?.element.focus({ preventScroll: true });
    }
  }

  private schedule(now = false): void {
    if (now) {
      cancelAnimationFrame(this.frame);
      this.frame = 0;
      this.drawVisible();
    } else if (!this.frame) {
      this.frame = requestAnimationFrame(() => {
        this.frame = 0;
        this.drawVisible();
      });
    }
  }

  // Moves the drawing, and creates the boxes that have become visible.
  private drawVisible(): void {
    const { x, y, scale, visibleBounds } = this.camera; // sizes are read before anything is written
    this.world.setAttribute("transform", `translate(${x.toFixed(1)} ${y.toFixed(1)}) scale(${scale.toFixed(4)})`);
    this.edges.element.classList.toggle("jpg-far", scale < FAR);
    const level = scale < FARTHER ? 2 : scale < FAR ? 1 : 0;
    const all = this.navigation.drawing.nodes.length <= DRAW_ALL_UP_TO;
    let newBoxes = 0;
    for (const node of this.navigation.drawing.nodes) {
      const visible = all || node.id === this.tabStop || (node.x < visibleBounds.x + visibleBounds.width && node.x + node.width > visibleBounds.x && node.y < visibleBounds.y + visibleBounds.height && node.y + node.height > visibleBounds.y);
      const box = this.boxes.get(node.id);
      if (!visible) {
        box?.hide(true);
      } else if (!box?.isAt(level)) {
        newBoxes += 1;
        if (newBoxes <= MAX_NEW_BOXES) {
          this.boxOf(node.id)?.setLevel(level);
        }
      }
    }
    if (newBoxes > MAX_NEW_BOXES) {
      this.schedule();
    }
  }

  private boxOf(id: string): NodeBox | null {
    const existingBox = this.boxes.get(id);
    const node = this.navigation.nodes.get(id);
    if (existingBox || !node) {
      return existingBox ?? null;
    }
    const box = new NodeBox(node);
    box.paint(this.statuses.steps[id], this.looks, this.positionText(id));
    box.element.classList.toggle("jpg-selected", id === this.selected);
    box.element.classList.toggle("jpg-faint", Boolean(this.filter && !this.filter(id)));
    box.element.setAttribute("aria-selected", String(id === this.selected));
    this.boxes.set(id, box);
    this.tree.append(box.element);
    if (id === this.tabStop) {
      box.element.setAttribute("tabindex", "0");
    }
    return box;
  }

  private positionText(id: string): string {
    return this.navigation.positionText(id, this.graph?.rails.length ?? 0);
  }

  select(id: string): void {
    if (this.overviewShown && !this.navigation.nodes.has(id) && this.graph?.nodes.some((node) => node.id === id)) {
      this.showsAllSteps = true;
      this.rebuild();
    }
    for (const nodeId of [this.selected, id]) {
      const box = this.boxOf(nodeId);
      box?.element.classList.toggle("jpg-selected", nodeId === id);
      box?.element.setAttribute("aria-selected", String(nodeId === id));
    }
    this.selected = id;
    this.moveTabStop(this.navigation.nodes.has(id) ? id : this.tabStop);
    this.highlightEdges();
  }

  // Moves the tab stop to another box. Exactly one box can be reached by Tab; it always exists and is never hidden.
  private moveTabStop(id: string): void {
    this.boxes.get(this.tabStop)?.element.setAttribute("tabindex", "-1");
    this.tabStop = id;
    const box = this.boxOf(id);
    box?.element.setAttribute("tabindex", "0");
    box?.hide(false);
  }

  private defaultTabStop(): string {
    const { nodes } = this.navigation;
    const group = this.graph?.groups.find((overviewGroup) => overviewGroup.steps.includes(this.tabStop))?.id ?? "";
    return [this.tabStop, this.selected, group].find((nodeId) => nodes.has(nodeId)) ?? this.navigation.end(false) ?? nodes.keys().next().value ?? "";
  }

  // Steps that do not pass the filter fade; null shows all.
  setFilter(filter: typeof this.filter): void {
    this.filter = filter;
    for (const [id, box] of this.boxes) {
      box.element.classList.toggle("jpg-faint", Boolean(filter && !filter(id)));
    }
    this.highlightEdges();
  }

  showCritical(on: boolean): void {
    this.showsCritical = on;
    this.highlightEdges();
  }

  private highlightEdges(): void {
    const criticalPath = new Set(this.showsCritical ? (this.statuses.critical ?? []) : []);
    this.edges.mark({ selected: this.selected, criticalPath, filter: this.filter });
  }

  fit(): void {
    if (this.element.clientWidth > 0) {
      this.isFitted = true;
      this.camera.fit(this.navigation.drawing.width, this.navigation.drawing.height);
    }
  }

  // Height that shows the whole drawing at the width there is.
  naturalHeight(width: number): number {
    const { drawing } = this.navigation;
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

  // Exports the whole drawing as SVG, not only the visible part.
  exportSvg(ground: string): string {
    const { drawing, nodes } = this.navigation;
    this.edges.element.classList.remove("jpg-far");
    for (const id of nodes.keys()) {
      this.boxOf(id)?.setLevel(0);
    }
    const picture = serializeSvg(this.world, drawing.width, drawing.height, ground);
    this.schedule();
    return picture;
  }

  showAllSteps(allSteps: boolean): void {
    this.showsAllSteps = allSteps;
    this.rebuild();
    this.fit();
  }

  private openGroup(id: string): void {
    const group = this.graph?.groups.find((overviewGroup) => overviewGroup.id === id);
    this.showsAllSteps = true;
    this.rebuild();
    const members = (group?.steps ?? []).map((stepId) => this.navigation.nodes.get(stepId)).filter((node): node is GraphNode => Boolean(node));
    if (members.length) {
      const bounds = boundsOf(members);
      const viewport = this.camera.size;
      this.camera.scale = Math.max(FAR, Math.min(1, viewport.width / (bounds.width + 60), viewport.height / (bounds.height + 60)));
      this.camera.show(bounds, true);
      this.focus(members[0].id);
    }
  }

  private idAt(event: Event): string {
    const box = (event.target as Element | null)?.closest?.(".jpg-node");
    return box?.getAttribute("data-id") ?? "";
  }

  private readonly onClick = (event: Event): void => {
    const id = this.idAt(event);
    this.tooltip.hide();
    if (id && this.overviewShown) {
      this.openGroup(id);
    } else if (id) {
      this.focus(id);
    }
  };

  private readonly onDoubleClick = (event: Event): void => {
    const id = this.idAt(event);
    if (id) {
      this.emit("open", id);
    }
  };

  private readonly onKey = (event: Event): void => {
    const press = event as KeyboardEvent;
    const id = this.idAt(event);
    if (press.ctrlKey || press.metaKey || press.altKey || !this.handleKey(press.key, id)) {
      return;
    }
    press.preventDefault();
    press.stopPropagation();
  };

  private handleKey(key: string, id: string): boolean {
    if (key in KEYS && id) {
      this.focus(this.navigation.neighbour(id, KEYS[key]) ?? id);
      return true;
    }
    switch (key) {
      case "Home":
      case "End":
        this.focus(this.navigation.end(key === "End") ?? id);
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
        this.tooltip.hide();
        if (this.selected) {
          this.select("");
          this.emit("select", "");
        }
        return true;
      default:
        return false;
    }
  }

  private readonly onHover = (event: Event): void => {
    const id = this.idAt(event);
    this.tooltip.showLater(this.tooltipOf(id), this.boxes.get(id)?.element);
  };

  private readonly onFocusIn = (event: Event): void => {
    if ((event.target as Element).matches(":focus-visible")) {
      const id = this.idAt(event);
      this.tooltip.show(this.tooltipOf(id), this.boxes.get(id)?.element);
    }
  };

  private tooltipOf(id: string): string {
    const node = this.navigation.nodes.get(id);
    return node ? tooltipText(node, this.statuses.steps[id], this.looks) : "";
  }

  private tick(): void {
    for (const [id, box] of this.boxes) {
      box.tick(this.statuses.steps[id]);
    }
  }

  private onResize(): void {
    if (!this.isFitted) {
      this.fit();
    } else {
      this.schedule();
    }
  }

  private emit(event: GraphEvent, id: string): void {
    this.listeners.filter((subscription) => subscription.event === event).forEach((subscription) => subscription.listener(id));
  }

  dispose(): void {
    window.clearInterval(this.timer);
    this.tooltip.dispose();
    cancelAnimationFrame(this.frame);
    this.resizeObserver.disconnect();
    this.camera.dispose();
    this.element.remove();
  }
}
