// The graph panel: a header with buttons, the drawing or the table, and the details of the selected step.

import { ATTEMPTED, OUTDATED, STATE_WORDS, SUCCESSFUL } from "../facts";
import { DetailsPane } from "./detailsPane";
import { FOCUSABLE, button, html } from "./dom";
import { downloadSvg } from "./exportSvg";
import { addGraphStyle, followTheme, addScopedStyle } from "./graphStyle";
import { stepTable } from "./stepTable";
import type { GraphDocument, GraphNode, DetailsSource, StatusDocument } from "./documents";
import { GraphView } from "./graphView";
import { mergeSteps } from "./navigation";
import { styleOf } from "./format";

export interface GraphActions {
  run?(): void;
  runTo?(step: string): void;
  force?(step: string): void;
  cancel?(): void;
}

const TABLE_DELAY = 500;
const FILTERS: Record<string, string[]> = { failed: [...ATTEMPTED].filter((state) => !SUCCESSFUL.has(state)), stale: [...OUTDATED] };

export class GraphPanel {
  readonly element: HTMLElement;
  readonly view: GraphView;
  private readonly detail: DetailsPane | null;
  private readonly headline: HTMLElement;
  private readonly title: HTMLElement;
  private readonly liveRegion: HTMLElement;
  private readonly buttons: { run?: HTMLButtonElement; to?: HTMLButtonElement; force?: HTMLButtonElement; cancel?: HTMLButtonElement } = {};
  private readonly groupsButton: HTMLButtonElement;
  private table: HTMLElement | null = null;
  private graph: GraphDocument | null = null;
  private statuses: StatusDocument = { steps: mergeSteps() };
  private readonly stopThemeSync: () => void;
  private announcedStates = new Map<string, string>();
  private announceTimer = 0;
  private tableTimer = 0;
  private disabledReason = "";
  private width = 0;
  private readonly resizeObserver = new ResizeObserver(() => this.onResize());

  constructor(
    host: HTMLElement,
    source: DetailsSource | null,
    private readonly actions: GraphActions = {},
    private readonly onSelect: (id: string) => void = () => undefined,
    private readonly fillsHost = false, // takes the height of its host instead of that of its drawing
    private readonly hasOwnColours = false, // colours come with the graph, and apply to this graph only
  ) {
    this.element = html("div", { class: "jpg", role: "group", "aria-label": "pipeline" });
    host.append(this.element);
    this.stopThemeSync = followTheme(this.element);
    this.title = html("span", { class: "jpg-title" });
    this.headline = html("span", { class: "jpg-headline" });
    this.liveRegion = html("div", { class: "jpg-live", role: "status", "aria-live": "polite" });
    this.groupsButton = button("Groups", () => this.toggleGroups(), { hidden: true, "aria-pressed": "true" });
    this.element.append(this.header());
    this.view = new GraphView(this.element);
    this.view.hasOwnColours = hasOwnColours;
    this.detail = source ? new DetailsPane(this.element, source) : null;
    this.element.append(this.liveRegion);
    this.view.on("select", (id) => this.selectStep(id));
    this.view.on("open", (id) => source?.openCell?.(id));
    this.element.addEventListener("keydown", this.onKey);
    this.resizeObserver.observe(this.element);
  }

  private header(): HTMLElement {
    const head = html("div", { class: "jpg-head" }, this.title, this.headline);
    const { actions } = this;
    if (actions.run) {
      this.buttons.run = button("Run", () => actions.run?.(), { class: "jpg-button jpg-primary" });
      this.buttons.to = button("Run to here", () => actions.runTo?.(this.view.selected), { title: "select a step first" });
      this.buttons.force = button("Force", () => actions.force?.(this.view.selected), { title: "select a step first" });
      this.buttons.cancel = button("Cancel", () => actions.cancel?.(), { title: "nothing runs" });
      head.append(...(Object.values(this.buttons) as HTMLElement[]));
    }
    const searchField = html("input", { class: "jpg-field jpg-search", type: "search", placeholder: "Search  /", "aria-label": "Search steps", size: 10, ...FOCUSABLE });
    searchField.addEventListener("input", () => this.search(searchField.value));
    searchField.addEventListener("keydown", (event) => this.onSearchKey(event, searchField.value));
    const filter = html("select", { class: "jpg-field", "aria-label": "Show", ...FOCUSABLE }, html("option", { value: "" }, "all steps"), html("option", { value: "failed" }, STATE_WORDS.failed), html("option", { value: "stale" }, "to be run"), html("option", { value: "upstream" }, "before the selected"), html("option", { value: "critical" }, "longest way"));
    filter.addEventListener("change", () => this.applyFilter(filter.value));
    head.append(searchField, filter, this.groupsButton, button("Fit", () => this.view.fit(), { title: "show all (0)" }), button("Save picture", () => this.savePicture(), { title: "the drawing as an SVG file" }), button("Table", () => this.toggleTable(), { "aria-pressed": "false", class: "jpg-button jpg-tabletoggle" }));
    return head;
  }

  setGraph(graph: GraphDocument): void {
    this.graph = graph;
    if (this.hasOwnColours) {
      addScopedStyle(this.element, graph.looks);
    } else {
      addGraphStyle(document, graph.looks);
    }
    this.title.textContent = graph.title;
    this.groupsButton.hidden = !graph.overview;
    this.view.setGraph(graph);
    this.updateHeight();
    this.refresh();
  }

  setStatuses(statuses: StatusDocument): void {
    this.statuses = { ...this.statuses, ...statuses, steps: mergeSteps(this.statuses.steps, statuses.steps) };
    this.view.setStatuses(statuses);
    this.renderHeadline(Boolean(statuses.headline));
    this.announce(statuses);
    this.refresh();
  }

  // Disables all buttons for a reason, for example because there is no kernel; an empty reason enables them again.
  setDisabledReason(reason: string): void {
    if (reason !== this.disabledReason) {
      this.disabledReason = reason;
      this.renderHeadline(true);
      this.refresh();
    }
  }

  private renderHeadline(fresh: boolean): void {
    const text = [this.disabledReason, this.statuses.headline].filter((part) => part).join(" · ");
    const refused = this.headline.querySelector("[role=alert]");
    if (refused ? fresh && text !== this.headline.dataset.said : this.headline.textContent !== text) {
      this.headline.textContent = text;
    }
    this.headline.dataset.said = text;
  }

  // Shows why an action was refused; the message stays until the headline changes.
  showError(text: string): void {
    this.headline.replaceChildren(html("span", { role: "alert" }, text));
  }

  select(id: string): void {
    if (id !== this.view.selected) {
      this.view.select(id);
      this.refresh();
    }
  }

  private selectStep(id: string): void {
    this.onSelect(id);
    this.refresh();
  }

  private refresh(): void {
    const { graph, view, buttons } = this;
    if (graph && this.detail) {
      this.detail.show(graph, view.selected, this.statuses.steps[view.selected]);
    }
    const running = Boolean(this.statuses.running);
    const hasStep = Boolean(graph?.nodes.some((node) => node.id === view.selected && node.kind === "step"));
    const set = (control: HTMLButtonElement | undefined, on: boolean, title: string) => {
      if (control) {
        control.disabled = !on;
        control.title = title;
      }
    };
    const { disabledReason } = this;
    this.groupsButton.setAttribute("aria-pressed", String(view.overviewShown));
    set(buttons.run, !running && !disabledReason, disabledReason || (running ? "a run is going on" : this.runButtonTitle()));
    set(buttons.to, !running && hasStep && !disabledReason, disabledReason ? disabledReason : hasStep ? `run ${view.selected} and what it needs` : "select a step first");
    set(buttons.force, !running && hasStep && !disabledReason, disabledReason ? disabledReason : hasStep ? `compute ${view.selected} again` : "select a step first");
    set(buttons.cancel, running && !disabledReason, disabledReason ? disabledReason : running ? "stop the run; what is finished is kept" : "nothing runs");
    if (this.table && !this.tableTimer) {
      this.tableTimer = window.setTimeout(() => this.updateTable(), TABLE_DELAY);
    }
  }

  // Replaces the table, and keeps its scroll position and focus.
  private updateTable(): void {
    this.tableTimer = 0;
    if (this.table && this.graph) {
      const { scrollTop } = this.table;
      const hadFocus = this.table.contains(document.activeElement);
      const fresh = stepTable(this.graph, this.statuses);
      this.table.replaceWith(fresh);
      this.table = fresh;
      fresh.scrollTop = scrollTop;
      if (hadFocus) {
        fresh.focus({ preventScroll: true });
      }
    }
  }

  private savePicture(): void {
    const { graph, view } = this;
    if (graph) {
      downloadSvg(graph.title, view.exportSvg(getComputedStyle(this.element).backgroundColor));
    }
  }

  private runButtonTitle(): string {
    const decisions = Object.values(this.statuses.steps).map((status) => status.decision ?? "");
    const count = (name: string) => decisions.filter((decision) => decision === name).length;
    return decisions.some((decision) => decision) ? `${count("run") + count("maybe")} to run, ${count("reuse")} to reuse` : "run the pipeline";
  }

  // Announces changed states to screen readers, many changes in a single sentence.
  private announce(statuses: StatusDocument): void {
    const news: string[] = [];
    for (const [id, status] of Object.entries(statuses.steps)) {
      if (this.announcedStates.get(id) !== status.state) {
        if (this.announcedStates.has(id)) {
          news.push(`${id} ${styleOf(this.graph?.looks ?? {}, status.state).word}`);
        }
        this.announcedStates.set(id, status.state);
      }
    }
    if (news.length) {
      window.clearTimeout(this.announceTimer);
      this.announceTimer = window.setTimeout(() => {
        this.liveRegion.textContent = news.length > 4 ? `${news.length} steps changed` : news.join(", ");
      }, 300);
    }
  }

  private search(text: string): void {
    const query = text.trim().toLowerCase();
    if (query && this.view.overviewShown) {
      this.toggleGroups();
    }
    this.view.setFilter(query ? (id) => this.matches(id, query) : null);
  }

  private matches(id: string, query: string): boolean {
    const node = this.graph?.nodes.find((candidate) => candidate.id === id);
    const names = [id, ...(node?.outputs ?? []).map((output) => output.name)];
    return names.some((name) => name.toLowerCase().includes(query));
  }

  private onSearchKey(event: KeyboardEvent, text: string): void {
    event.stopPropagation();
    const query = text.trim().toLowerCase();
    if (event.key === "Escape") {
      (event.target as HTMLInputElement).value = "";
      this.search("");
    } else if (event.key === "Enter" && query) {
      const hits = (this.graph?.nodes ?? []).filter((node: GraphNode) => node.kind === "step" && this.matches(node.id, query));
      const next = hits[(hits.findIndex((hit) => hit.id === this.view.selected) + 1) % hits.length];
      if (next) {
        this.view.select(next.id);
        this.view.camera.show(next, true);
        this.selectStep(next.id);
      }
    }
  }

  private applyFilter(what: string): void {
    const steps = this.statuses.steps;
    this.view.showCritical(what === "critical");
    if (what === "upstream") {
      const ancestors = this.upstream(this.view.selected);
      this.view.setFilter((id) => ancestors.has(id));
    } else if (what === "critical") {
      const criticalPath = new Set(this.statuses.critical ?? []);
      this.view.setFilter(criticalPath.size ? (id) => criticalPath.has(id) : null);
    } else {
      const states = FILTERS[what];
      this.view.setFilter(states ? (id) => states.includes(steps[id]?.state ?? "") : null);
    }
  }

  private upstream(id: string): Set<string> {
    const reachedIds = new Set([id]);
    const waiting = [id];
    while (waiting.length) {
      const stepId = waiting.pop();
      for (const edge of this.graph?.edges ?? []) {
        if (edge.to === stepId && !reachedIds.has(edge.from)) {
          reachedIds.add(edge.from);
          waiting.push(edge.from);
        }
      }
    }
    return reachedIds;
  }

  private toggleGroups(): void {
    this.view.showAllSteps(!this.view.showsAllSteps);
    this.updateHeight();
    this.refresh();
  }

  private toggleTable(): void {
    const toggle = this.element.querySelector(".jpg-tabletoggle");
    if (this.table) {
      this.table.remove();
      this.table = null;
    } else if (this.graph) {
      this.table = stepTable(this.graph, this.statuses);
      this.view.element.after(this.table);
    }
    this.view.element.style.display = this.table ? "none" : "";
    toggle?.setAttribute("aria-pressed", String(Boolean(this.table)));
  }

  private readonly onKey = (event: KeyboardEvent): void => {
    if (event.key === "/" && !(event.target as Element).matches("input, select, textarea")) {
      this.element.querySelector<HTMLInputElement>(".jpg-search")?.focus();
      event.preventDefault();
      event.stopPropagation();
    }
  };

  private onResize(): void {
    const { clientWidth } = this.element;
    if (this.graph && clientWidth > 0 && clientWidth !== this.width) {
      this.width = clientWidth;
      this.updateHeight();
    }
  }

  // Sets the height that the drawing needs, up to the limit for an output.
  private updateHeight(): void {
    if (this.fillsHost) {
      this.element.style.height = "100%";
      return;
    }
    const width = this.element.clientWidth || 900;
    const height = Math.round(Math.min(460, Math.max(150, this.view.naturalHeight(width) + 12)));
    this.view.element.style.height = `${height}px`;
    this.view.fit();
  }

  dispose(): void {
    window.clearTimeout(this.announceTimer);
    window.clearTimeout(this.tableTimer);
    this.resizeObserver.disconnect();
    this.stopThemeSync();
    this.view.dispose();
    this.detail?.dispose();
    this.element.remove();
  }
}
