// The graph as lanes beside a list of steps, as in `git log --graph`: for narrow places.

import { SUCCESSFUL } from "../facts";
import { FOCUSABLE, clearChildren, html, icon, svg } from "./dom";
import { tooltipText } from "./nodeBox";
import { addGraphStyle, stateClass } from "./graphStyle";
import type { GraphDocument, GraphEvent, GraphNode, GraphListener, GraphRail, StatusDocument, StepStatus, PipelineView } from "./documents";
import { mergeSteps } from "./navigation";
import { stepDetail, styleOf, stepTime } from "./format";

const ROW_HEIGHT = 28;
const LANE_WIDTH = 12;
const MAX_LANES = 12;
const FILL_AT_ONCE = 400; // rows that are made at once; more are made when they come into sight

interface RailRow {
  rail: GraphRail;
  node: GraphNode;
  element: HTMLElement;
  shownStatus: string;
}

// The style sheet hides "saved" where the list is narrow: the badge says already that the step is reused.
function timeParts(status: StepStatus | undefined): Node[] {
  const text = stepTime(status, Date.now());
  const saved = /^saved /.exec(text)?.[0] ?? "";
  return [...(saved ? [html("span", { class: "jpg-saved" }, saved)] : []), document.createTextNode(text.slice(saved.length))];
}

// Steps that the next run computes have an open ring, reused steps a filled one.
function willRun(status: StepStatus | undefined): boolean {
  return !status || !(SUCCESSFUL.has(status.state) || status.state === "reuse");
}

export class RailView implements PipelineView {
  readonly element: HTMLElement;
  selected = "";
  private graph: GraphDocument | null = null;
  private statuses: StatusDocument = { steps: mergeSteps() };
  private rows: RailRow[] = [];
  private laneCount = 1; // number of lanes, the same in each row, so that the names are aligned
  private readonly byId = new Map<string, RailRow>();
  private readonly listeners: { event: GraphEvent; listener: GraphListener }[] = [];
  private readonly timer: number;
  private readonly visibilityObserver: IntersectionObserver;

  constructor(host: HTMLElement) {
    this.element = html("div", { class: "jpg-rail", role: "listbox", "aria-label": "steps" });
    host.append(this.element);
    this.element.addEventListener("click", (event) => this.selectRow(this.idAt(event)));
    this.element.addEventListener("dblclick", (event) => this.emit("open", this.idAt(event)));
    this.element.addEventListener("keydown", (event) => this.onKey(event));
    this.timer = window.setInterval(() => this.tick(), 1000);
    this.visibilityObserver = new IntersectionObserver((entries) => this.reveal(entries), { root: this.element, rootMargin: "600px" });
  }

  on(event: GraphEvent, listener: GraphListener): void {
    this.listeners.push({ event, listener });
  }

  setGraph(graph: GraphDocument): void {
    addGraphStyle(document, graph.looks);
    this.graph = graph;
    const focused = document.activeElement?.closest(".jpg-row");
    const idWithFocus = focused && this.element.contains(focused) ? (focused.getAttribute("data-id") ?? "") : "";
    this.byId.clear();
    this.visibilityObserver.disconnect();
    clearChildren(this.element);
    this.laneCount = Math.min(MAX_LANES, 1 + Math.max(0, ...graph.rails.map((rail) => Math.max(rail.lane, ...rail.through, ...rail.from, ...rail.to))));
    const nodes = new Map(graph.nodes.map((node) => [node.id, node]));
    this.rows = graph.rails.map((rail) => this.rowOf(rail, nodes.get(rail.id) as GraphNode));
    for (const row of this.rows) {
      this.byId.set(row.rail.id, row);
      this.element.append(row.element);
      if (this.rows.length <= FILL_AT_ONCE) {
        this.fill(row);
      } else {
        this.visibilityObserver.observe(row.element);
      }
    }
    if (!this.byId.has(this.selected)) {
      this.selected = "";
    }
    this.updateTabStop();
    // The rows are new elements: without this, the keys of a person who moves through the list go nowhere.
    this.byId.get(idWithFocus)?.element.focus({ preventScroll: true });
  }

  setStatuses(statuses: StatusDocument): void {
    this.statuses = { ...this.statuses, ...statuses, steps: mergeSteps(this.statuses.steps, statuses.steps) };
    for (const row of this.rows) {
      if (row.shownStatus) {
        this.fill(row);
      }
    }
  }

  private rowOf(rail: GraphRail, node: GraphNode): RailRow {
    const element = html("div", { class: "jpg-row", role: "option", "data-id": rail.id, "aria-selected": String(rail.id === this.selected), tabindex: -1, ...FOCUSABLE });
    return { rail, node, element, shownStatus: "" };
  }

  private reveal(entries: IntersectionObserverEntry[]): void {
    for (const entry of entries) {
      const row = this.byId.get(entry.target.getAttribute("data-id") ?? "");
      if (entry.isIntersecting && row && !row.shownStatus) {
        this.fill(row);
      }
    }
  }

  private fill(row: RailRow): void {
    const status = this.statuses.steps[row.rail.id];
    const signature = JSON.stringify(status ?? null);
    if (row.shownStatus === signature) {
      return;
    }
    row.shownStatus = signature;
    const looks = this.graph?.looks ?? {};
    const style = status ? styleOf(looks, status.state) : null;
    const parts: Node[] = [this.drawLanes(row.rail, willRun(status))];
    if (style && status) {
      parts.push(html("span", { class: `jpg-mark ${stateClass(status.state)}`, style: "display:inline-flex;flex:none" }, icon(style.icon, 14)));
    }
    parts.push(html("span", { class: "jpg-name" }, row.node.name));
    if (style && status) {
      parts.push(html("span", { class: `jpg-badge ${stateClass(status.state)}` }, style.word));
      parts.push(html("span", { class: "jpg-detail" }, stepDetail(status)));
    }
    parts.push(html("span", { class: "jpg-time" }, ...timeParts(status)));
    row.element.replaceChildren(...parts);
    row.element.title = tooltipText(row.node, status, looks);
    row.element.setAttribute("data-state", status?.state ?? "");
    row.element.setAttribute("aria-label", [row.node.name, style?.word, stepDetail(status), stepTime(status, Date.now())].filter((part) => part).join(", "));
    row.element.classList.toggle("jpg-running", status?.state === "running");
  }

  private drawLanes(rail: GraphRail, open: boolean): SVGElement {
    const picture = svg("svg", { width: this.laneCount * LANE_WIDTH + 4, height: ROW_HEIGHT, "aria-hidden": "true", style: "flex:none" });
    const laneX = (lane: number) => 8 + Math.min(lane, MAX_LANES - 1) * LANE_WIDTH;
    const middle = ROW_HEIGHT / 2;
    const line = (d: string) => picture.append(svg("path", { class: "jpg-edge", d }));
    for (const lane of rail.through) {
      line(`M${laneX(lane)} 0V${ROW_HEIGHT}`);
    }
    for (const lane of rail.from) {
      line(lane === rail.lane ? `M${laneX(lane)} 0V${middle}` : `M${laneX(lane)} 0C${laneX(lane)} ${middle} ${laneX(rail.lane)} 2 ${laneX(rail.lane)} ${middle}`);
    }
    if (rail.to.length) {
      line(`M${laneX(rail.lane)} ${middle}V${ROW_HEIGHT}`);
    }
    picture.append(svg("circle", { cx: laneX(rail.lane), cy: middle, r: 3.6, class: open ? "jpg-dot jpg-dot-open" : "jpg-dot" }));
    return picture;
  }

  select(id: string): void {
    this.byId.get(this.selected)?.element.setAttribute("aria-selected", "false");
    this.selected = id;
    const row = this.byId.get(id);
    row?.element.setAttribute("aria-selected", "true");
    row?.element.scrollIntoView({ block: "nearest" });
    this.updateTabStop();
  }

  private updateTabStop(): void {
    const stop = this.byId.get(this.selected) ?? this.rows[0];
    for (const row of this.rows) {
      row.element.tabIndex = row === stop ? 0 : -1;
    }
  }

  private selectRow(id: string): void {
    if (id) {
      this.select(id);
      this.byId.get(id)?.element.focus({ preventScroll: true });
      this.emit("select", id);
    }
  }

  private onKey(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey) {
      return;
    }
    const id = this.idAt(event);
    const index = this.rows.findIndex((row) => row.rail.id === id);
    const target: Record<string, number> = { ArrowDown: index + 1, ArrowUp: index - 1, Home: 0, End: this.rows.length - 1, PageDown: index + 10, PageUp: index - 10 };
    if (event.key in target) {
      this.selectRow(this.rows[Math.max(0, Math.min(this.rows.length - 1, target[event.key]))]?.rail.id ?? "");
    } else if (event.key === "Enter") {
      this.emit("open", id);
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  }

  private idAt(event: Event): string {
    return (event.target as Element).closest(".jpg-row")?.getAttribute("data-id") ?? "";
  }

  private tick(): void {
    for (const row of this.rows) {
      const status = this.statuses.steps[row.rail.id];
      if (status?.state === "running") {
        const time = row.element.querySelector(".jpg-time");
        if (time) {
          time.textContent = stepTime(status, Date.now());
        }
      }
    }
  }

  private emit(event: GraphEvent, id: string): void {
    if (id) {
      this.listeners.filter((subscription) => subscription.event === event).forEach((subscription) => subscription.listener(id));
    }
  }

  dispose(): void {
    window.clearInterval(this.timer);
    this.visibilityObserver.disconnect();
    this.element.remove();
  }
}
