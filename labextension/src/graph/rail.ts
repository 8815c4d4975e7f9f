// The graph beside a list, as `git log --graph` has it: for places that are narrow.

import { FOCUSABLE, empty, html, icon, svg } from "./elements";
import { hintOf } from "./node";
import { addStyle, stateClass } from "./style";
import type { Graph, GraphEvent, GraphNode, Listener, Rail, Statuses, StepStatus, View } from "./types";
import { merged } from "./ways";
import { detailOf, lookOf, timeOf } from "./words";

const ROW = 28;
const LANE = 12;
const MOST_LANES = 12;
const FEW = 400; // rows that are made at once; more are made when they come into sight

interface Row {
  rail: Rail;
  node: GraphNode;
  element: HTMLElement;
  shown: string;
}

// "saved" is left out where there is no room for it: the badge says that it is reused.
function timeParts(status: StepStatus | undefined): Node[] {
  const text = timeOf(status, Date.now());
  const saved = /^saved /.exec(text)?.[0] ?? "";
  return [...(saved ? [html("span", { class: "jpg-saved" }, saved)] : []), document.createTextNode(text.slice(saved.length))];
}

// The ring of a step that the next run computes is open, that of one it reuses is full.
function willRun(status: StepStatus | undefined): boolean {
  return !status || !["succeeded", "reused", "reuse"].includes(status.state);
}

export class RailView implements View {
  readonly element: HTMLElement;
  selected = "";
  private graph: Graph | null = null;
  private statuses: Statuses = { steps: merged() };
  private rows: Row[] = [];
  private breadth = 1; // lanes, the same in each row: names stand below each other
  private readonly byId = new Map<string, Row>();
  private readonly listeners: { event: GraphEvent; listener: Listener }[] = [];
  private readonly clock: number;
  private readonly watcher: IntersectionObserver;

  constructor(host: HTMLElement) {
    this.element = html("div", { class: "jpg-rail", role: "listbox", "aria-label": "steps" });
    host.append(this.element);
    this.element.addEventListener("click", (event) => this.choose(this.idAt(event)));
    this.element.addEventListener("dblclick", (event) => this.emit("open", this.idAt(event)));
    this.element.addEventListener("keydown", (event) => this.key(event));
    this.clock = window.setInterval(() => this.tick(), 1000);
    this.watcher = new IntersectionObserver((entries) => this.reveal(entries), { root: this.element, rootMargin: "600px" });
  }

  on(event: GraphEvent, listener: Listener): void {
    this.listeners.push({ event, listener });
  }

  setGraph(graph: Graph): void {
    addStyle(document, graph.looks);
    this.graph = graph;
    this.byId.clear();
    this.watcher.disconnect();
    empty(this.element);
    this.breadth = Math.min(MOST_LANES, 1 + Math.max(0, ...graph.rails.map((one) => Math.max(one.lane, ...one.through, ...one.from, ...one.to))));
    const nodes = new Map(graph.nodes.map((one) => [one.id, one]));
    this.rows = graph.rails.map((rail) => this.rowOf(rail, nodes.get(rail.id) as GraphNode));
    for (const row of this.rows) {
      this.byId.set(row.rail.id, row);
      this.element.append(row.element);
      if (this.rows.length <= FEW) {
        this.fill(row);
      } else {
        this.watcher.observe(row.element);
      }
    }
    if (!this.byId.has(this.selected)) {
      this.selected = "";
    }
    this.tabStop();
  }

  setStatuses(statuses: Statuses): void {
    this.statuses = { ...this.statuses, ...statuses, steps: merged(this.statuses.steps, statuses.steps) };
    for (const row of this.rows) {
      if (row.shown) {
        this.fill(row);
      }
    }
  }

  private rowOf(rail: Rail, node: GraphNode): Row {
    const element = html("div", { class: "jpg-row", role: "option", "data-id": rail.id, "aria-selected": "false", tabindex: -1, ...FOCUSABLE });
    return { rail, node, element, shown: "" };
  }

  private reveal(entries: IntersectionObserverEntry[]): void {
    for (const entry of entries) {
      const row = this.byId.get(entry.target.getAttribute("data-id") ?? "");
      if (entry.isIntersecting && row && !row.shown) {
        this.fill(row);
      }
    }
  }

  private fill(row: Row): void {
    const status = this.statuses.steps[row.rail.id];
    const signature = JSON.stringify(status ?? null);
    if (row.shown === signature) {
      return;
    }
    row.shown = signature;
    const looks = this.graph?.looks ?? {};
    const look = status ? lookOf(looks, status.state) : null;
    const parts: Node[] = [this.lanes(row.rail, willRun(status))];
    if (look && status) {
      parts.push(html("span", { class: `jpg-mark ${stateClass(status.state)}`, style: "display:inline-flex;flex:none" }, icon(look.icon, 14)));
    }
    parts.push(html("span", { class: "jpg-name" }, row.node.name));
    if (look && status) {
      parts.push(html("span", { class: `jpg-badge ${stateClass(status.state)}` }, look.word));
      parts.push(html("span", { class: "jpg-detail" }, detailOf(status)));
    }
    parts.push(html("span", { class: "jpg-time" }, ...timeParts(status)));
    row.element.replaceChildren(...parts);
    row.element.title = hintOf(row.node, status, looks);
    row.element.setAttribute("data-state", status?.state ?? "");
    row.element.setAttribute("aria-label", [row.node.name, look?.word, detailOf(status), timeOf(status, Date.now())].filter((one) => one).join(", "));
    row.element.classList.toggle("jpg-running", status?.state === "running");
  }

  private lanes(rail: Rail, open: boolean): SVGElement {
    const picture = svg("svg", { width: this.breadth * LANE + 4, height: ROW, "aria-hidden": "true", style: "flex:none" });
    const at = (lane: number) => 8 + Math.min(lane, MOST_LANES - 1) * LANE;
    const middle = ROW / 2;
    const line = (d: string) => picture.append(svg("path", { class: "jpg-edge", d }));
    for (const lane of rail.through) {
      line(`M${at(lane)} 0V${ROW}`);
    }
    for (const lane of rail.from) {
      line(lane === rail.lane ? `M${at(lane)} 0V${middle}` : `M${at(lane)} 0C${at(lane)} ${middle} ${at(rail.lane)} 2 ${at(rail.lane)} ${middle}`);
    }
    if (rail.to.length) {
      line(`M${at(rail.lane)} ${middle}V${ROW}`);
    }
    picture.append(svg("circle", { cx: at(rail.lane), cy: middle, r: 3.6, class: open ? "jpg-dot jpg-dot-open" : "jpg-dot" }));
    return picture;
  }

  select(id: string): void {
    this.byId.get(this.selected)?.element.setAttribute("aria-selected", "false");
    this.selected = id;
    const row = this.byId.get(id);
    row?.element.setAttribute("aria-selected", "true");
    row?.element.scrollIntoView({ block: "nearest" });
    this.tabStop();
  }

  private tabStop(): void {
    const stop = this.byId.get(this.selected) ?? this.rows[0];
    for (const row of this.rows) {
      row.element.tabIndex = row === stop ? 0 : -1;
    }
  }

  private choose(id: string): void {
    if (id) {
      this.select(id);
      this.byId.get(id)?.element.focus({ preventScroll: true });
      this.emit("select", id);
    }
  }

  private key(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey) {
      return;
    }
    const id = this.idAt(event);
    const index = this.rows.findIndex((one) => one.rail.id === id);
    const target: Record<string, number> = { ArrowDown: index + 1, ArrowUp: index - 1, Home: 0, End: this.rows.length - 1, PageDown: index + 10, PageUp: index - 10 };
    if (event.key in target) {
      this.choose(this.rows[Math.max(0, Math.min(this.rows.length - 1, target[event.key]))]?.rail.id ?? "");
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
          time.textContent = timeOf(status, Date.now());
        }
      }
    }
  }

  private emit(event: GraphEvent, id: string): void {
    if (id) {
      this.listeners.filter((one) => one.event === event).forEach((one) => one.listener(id));
    }
  }

  dispose(): void {
    window.clearInterval(this.clock);
    this.watcher.disconnect();
    this.element.remove();
  }
}
