// The graph with all that goes with it: a head with buttons, the drawing or the table, the details of a step.

import { DetailView } from "./detail";
import { FOCUSABLE, button, html } from "./elements";
import { saveAs } from "./picture";
import { addStyle, followTheme, ownStyle } from "./style";
import { tableOf } from "./table";
import type { Graph, GraphNode, Source, Statuses } from "./types";
import { GraphView } from "./view";
import { merged } from "./ways";
import { lookOf } from "./words";

export interface Actions {
  run?(): void;
  runTo?(step: string): void;
  force?(step: string): void;
  cancel?(): void;
}

const TABLE_PAUSE = 500;
const FILTERS: Record<string, string[]> = { failed: ["failed", "lost", "cancelled"], stale: ["stale", "edited", "run", "maybe", "never run", "blocked"] };

export class Board {
  readonly element: HTMLElement;
  readonly view: GraphView;
  private readonly detail: DetailView | null;
  private readonly headline: HTMLElement;
  private readonly title: HTMLElement;
  private readonly live: HTMLElement;
  private readonly buttons: { run?: HTMLButtonElement; to?: HTMLButtonElement; force?: HTMLButtonElement; cancel?: HTMLButtonElement } = {};
  private readonly whole: HTMLButtonElement;
  private table: HTMLElement | null = null;
  private graph: Graph | null = null;
  private statuses: Statuses = { steps: merged() };
  private readonly unfollow: () => void;
  private said = new Map<string, string>();
  private saying = 0;
  private tabling = 0;
  private barred = "";
  private width = 0;
  private readonly watcher = new ResizeObserver(() => this.resized());

  constructor(
    host: HTMLElement,
    source: Source | null,
    private readonly actions: Actions = {},
    private readonly selected: (id: string) => void = () => undefined,
    private readonly filling = false, // as high as its place, instead of as its drawing
    private readonly foreign = false, // colours come with the graph, and are for this graph only
  ) {
    this.element = html("div", { class: "jpg", role: "group", "aria-label": "pipeline" });
    host.append(this.element);
    this.unfollow = followTheme(this.element);
    this.title = html("span", { class: "jpg-title" });
    this.headline = html("span", { class: "jpg-headline" });
    this.live = html("div", { class: "jpg-live", role: "status", "aria-live": "polite" });
    this.whole = button("Groups", () => this.toggleWhole(), { hidden: true, "aria-pressed": "true" });
    this.element.append(this.head());
    this.view = new GraphView(this.element);
    this.view.foreign = foreign;
    this.detail = source ? new DetailView(this.element, source) : null;
    this.element.append(this.live);
    this.view.on("select", (id) => this.choose(id));
    this.view.on("open", (id) => source?.openCell?.(id));
    this.element.addEventListener("keydown", this.key);
    this.watcher.observe(this.element);
  }

  private head(): HTMLElement {
    const head = html("div", { class: "jpg-head" }, this.title, this.headline);
    const { actions } = this;
    if (actions.run) {
      this.buttons.run = button("Run", () => actions.run?.(), { class: "jpg-button jpg-primary" });
      this.buttons.to = button("Run to here", () => actions.runTo?.(this.view.selected), { title: "select a step first" });
      this.buttons.force = button("Force", () => actions.force?.(this.view.selected), { title: "select a step first" });
      this.buttons.cancel = button("Cancel", () => actions.cancel?.(), { title: "nothing runs" });
      head.append(...(Object.values(this.buttons) as HTMLElement[]));
    }
    const search = html("input", { class: "jpg-field jpg-search", type: "search", placeholder: "Search  /", "aria-label": "Search steps", size: 10, ...FOCUSABLE });
    search.addEventListener("input", () => this.search(search.value));
    search.addEventListener("keydown", (event) => this.found(event, search.value));
    const filter = html("select", { class: "jpg-field", "aria-label": "Show", ...FOCUSABLE }, html("option", { value: "" }, "all steps"), html("option", { value: "failed" }, "failed"), html("option", { value: "stale" }, "to be run"), html("option", { value: "upstream" }, "before the selected"), html("option", { value: "critical" }, "longest way"));
    filter.addEventListener("change", () => this.show(filter.value));
    head.append(search, filter, this.whole, button("Fit", () => this.view.fit(), { title: "show all (0)" }), button("Save picture", () => this.savePicture(), { title: "the drawing as an SVG file" }), button("Table", () => this.toggleTable(), { "aria-pressed": "false", class: "jpg-button jpg-tabletoggle" }));
    return head;
  }

  setGraph(graph: Graph): void {
    this.graph = graph;
    if (this.foreign) {
      ownStyle(this.element, graph.looks);
    } else {
      addStyle(document, graph.looks);
    }
    this.title.textContent = graph.title;
    this.whole.hidden = !graph.overview;
    this.view.setGraph(graph);
    this.size();
    this.refresh();
  }

  setStatuses(statuses: Statuses): void {
    this.statuses = { ...this.statuses, ...statuses, steps: merged(this.statuses.steps, statuses.steps) };
    this.view.setStatuses(statuses);
    this.sayHeadline(Boolean(statuses.headline));
    this.announce(statuses);
    this.refresh();
  }

  // Nobody hears what buttons say; an empty text means that somebody does.
  bar(why: string): void {
    if (why !== this.barred) {
      this.barred = why;
      this.sayHeadline(true);
      this.refresh();
    }
  }

  private sayHeadline(fresh: boolean): void {
    const text = [this.barred, this.statuses.headline].filter((one) => one).join(" · ");
    const refused = this.headline.querySelector("[role=alert]");
    if (refused ? fresh && text !== this.headline.dataset.said : this.headline.textContent !== text) {
      this.headline.textContent = text;
    }
    this.headline.dataset.said = text;
  }

  // Why a wish is not fulfilled; it stays until something else is to be said.
  refuse(text: string): void {
    this.headline.replaceChildren(html("span", { role: "alert" }, text));
  }

  select(id: string): void {
    if (id !== this.view.selected) {
      this.view.select(id);
      this.refresh();
    }
  }

  private choose(id: string): void {
    this.selected(id);
    this.refresh();
  }

  private refresh(): void {
    const { graph, view, buttons } = this;
    if (graph && this.detail) {
      this.detail.show(graph, view.selected, this.statuses.steps[view.selected]);
    }
    const running = Boolean(this.statuses.running);
    const chosen = Boolean(graph?.nodes.some((one) => one.id === view.selected && one.kind === "step"));
    const set = (one: HTMLButtonElement | undefined, on: boolean, title: string) => {
      if (one) {
        one.disabled = !on;
        one.title = title;
      }
    };
    const { barred } = this;
    this.whole.setAttribute("aria-pressed", String(view.overviewShown));
    set(buttons.run, !running && !barred, barred || (running ? "a run is going on" : this.foreseen()));
    set(buttons.to, !running && chosen && !barred, barred ? barred : chosen ? `run ${view.selected} and what it needs` : "select a step first");
    set(buttons.force, !running && chosen && !barred, barred ? barred : chosen ? `compute ${view.selected} again` : "select a step first");
    set(buttons.cancel, running && !barred, barred ? barred : running ? "stop the run; what is finished is kept" : "nothing runs");
    if (this.table && !this.tabling) {
      this.tabling = window.setTimeout(() => this.renewTable(), TABLE_PAUSE);
    }
  }

  // Keeps the place that one reads.
  private renewTable(): void {
    this.tabling = 0;
    if (this.table && this.graph) {
      const { scrollTop } = this.table;
      const held = this.table.contains(document.activeElement);
      const fresh = tableOf(this.graph, this.statuses);
      this.table.replaceWith(fresh);
      this.table = fresh;
      fresh.scrollTop = scrollTop;
      if (held) {
        fresh.focus({ preventScroll: true });
      }
    }
  }

  private savePicture(): void {
    const { graph, view } = this;
    if (graph) {
      saveAs(graph.title, view.picture(getComputedStyle(this.element).backgroundColor));
    }
  }

  private foreseen(): string {
    const decisions = Object.values(this.statuses.steps).map((one) => one.decision ?? "");
    const count = (name: string) => decisions.filter((one) => one === name).length;
    return decisions.some((one) => one) ? `${count("run") + count("maybe")} to run, ${count("reuse")} to reuse` : "run the pipeline";
  }

  // What has changed, said to those who listen: one sentence for many changes.
  private announce(statuses: Statuses): void {
    const news: string[] = [];
    for (const [id, status] of Object.entries(statuses.steps)) {
      if (this.said.get(id) !== status.state) {
        if (this.said.has(id)) {
          news.push(`${id} ${lookOf(this.graph?.looks ?? {}, status.state).word}`);
        }
        this.said.set(id, status.state);
      }
    }
    if (news.length) {
      window.clearTimeout(this.saying);
      this.saying = window.setTimeout(() => {
        this.live.textContent = news.length > 4 ? `${news.length} steps changed` : news.join(", ");
      }, 300);
    }
  }

  private search(text: string): void {
    const wanted = text.trim().toLowerCase();
    if (wanted && this.view.overviewShown) {
      this.toggleWhole();
    }
    this.view.setFilter(wanted ? (id) => this.matches(id, wanted) : null);
  }

  private matches(id: string, wanted: string): boolean {
    const node = this.graph?.nodes.find((one) => one.id === id);
    const names = [id, ...(node?.outputs ?? []).map((one) => one.name)];
    return names.some((one) => one.toLowerCase().includes(wanted));
  }

  private found(event: KeyboardEvent, text: string): void {
    event.stopPropagation();
    const wanted = text.trim().toLowerCase();
    if (event.key === "Escape") {
      (event.target as HTMLInputElement).value = "";
      this.search("");
    } else if (event.key === "Enter" && wanted) {
      const hits = (this.graph?.nodes ?? []).filter((one: GraphNode) => one.kind === "step" && this.matches(one.id, wanted));
      const next = hits[(hits.findIndex((one) => one.id === this.view.selected) + 1) % hits.length];
      if (next) {
        this.view.select(next.id);
        this.view.camera.show(next, true);
        this.choose(next.id);
      }
    }
  }

  private show(what: string): void {
    const steps = this.statuses.steps;
    this.view.showCritical(what === "critical");
    if (what === "upstream") {
      const kept = this.upstream(this.view.selected);
      this.view.setFilter((id) => kept.has(id));
    } else if (what === "critical") {
      const way = new Set(this.statuses.critical ?? []);
      this.view.setFilter(way.size ? (id) => way.has(id) : null);
    } else {
      const states = FILTERS[what];
      this.view.setFilter(states ? (id) => states.includes(steps[id]?.state ?? "") : null);
    }
  }

  private upstream(id: string): Set<string> {
    const found = new Set([id]);
    const waiting = [id];
    while (waiting.length) {
      const one = waiting.pop();
      for (const edge of this.graph?.edges ?? []) {
        if (edge.to === one && !found.has(edge.from)) {
          found.add(edge.from);
          waiting.push(edge.from);
        }
      }
    }
    return found;
  }

  private toggleWhole(): void {
    this.view.toggleWhole(!this.view.whole);
    this.size();
    this.refresh();
  }

  private toggleTable(): void {
    const toggle = this.element.querySelector(".jpg-tabletoggle");
    if (this.table) {
      this.table.remove();
      this.table = null;
    } else if (this.graph) {
      this.table = tableOf(this.graph, this.statuses);
      this.view.element.after(this.table);
    }
    this.view.element.style.display = this.table ? "none" : "";
    toggle?.setAttribute("aria-pressed", String(Boolean(this.table)));
  }

  private readonly key = (event: KeyboardEvent): void => {
    if (event.key === "/" && !(event.target as Element).matches("input, select, textarea")) {
      this.element.querySelector<HTMLInputElement>(".jpg-search")?.focus();
      event.preventDefault();
      event.stopPropagation();
    }
  };

  private resized(): void {
    const { clientWidth } = this.element;
    if (this.graph && clientWidth > 0 && clientWidth !== this.width) {
      this.width = clientWidth;
      this.size();
    }
  }

  // As high as the drawing needs it, within what an output may take.
  private size(): void {
    if (this.filling) {
      this.element.style.height = "100%";
      return;
    }
    const width = this.element.clientWidth || 900;
    const height = Math.round(Math.min(460, Math.max(150, this.view.naturalHeight(width) + 12)));
    this.view.element.style.height = `${height}px`;
    this.view.fit();
  }

  dispose(): void {
    window.clearTimeout(this.saying);
    window.clearTimeout(this.tabling);
    this.watcher.disconnect();
    this.unfollow();
    this.view.dispose();
    this.detail?.dispose();
    this.element.remove();
  }
}
