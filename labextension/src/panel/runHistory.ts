// Earlier runs: state, timeline, and the difference between two of them.

import type { RunSummary } from "../api";
import { FOCUSABLE, button, html, icon } from "../graph/dom";
import { stateClass } from "../graph/graphStyle";
import type { StateStyle } from "../graph/documents";
import { formatDuration, styleOf, formatMoment } from "../graph/format";
import { messageOf } from "../notebookPipeline";
import type { NotebookPipeline } from "../notebookPipeline";
import { ganttOf } from "./ganttChart";

export class RunHistoryView {
  readonly element = html("div", { class: "jpp-runs" });
  private readonly list = html("div", {});
  private readonly details = html("div", {});
  private chosenRuns: string[] = [];
  private openRun = "";
  private openRunState = ""; // an open run that is active is loaded again when it has ended
  private shownSignature = "";

  constructor(private readonly model: NotebookPipeline) {
    this.element.append(this.list, this.details);
  }

  show(): void {
    const signature = JSON.stringify([this.model.runs, this.chosenRuns, this.openRun]);
    if (signature === this.shownSignature) {
      return;
    }
    this.shownSignature = signature;
    const { runs } = this.model;
    const rows = runs.map((run) => this.row(run));
    const compare = button("Compare two", () => void this.compare(), { disabled: this.chosenRuns.length !== 2, title: "choose two runs" });
    this.list.replaceChildren(...(runs.length ? [compare, ...rows] : [html("p", { class: "jpg-soft" }, "No run yet.")]));
    if (this.openRun && this.stateOf(this.openRun) !== this.openRunState) {
      void this.showRun(this.openRun);
    }
  }

  private row(run: RunSummary): HTMLElement {
    const box = html("input", { type: "checkbox", "aria-label": `choose run ${run.run} for comparing`, ...FOCUSABLE });
    box.checked = this.chosenRuns.includes(run.run);
    box.addEventListener("change", () => this.toggleChosen(run.run, box.checked));
    const style = styleOf(this.looks, run.state);
    const badge = html("span", { class: `jpg-badge ${stateClass(run.state)}` });
    badge.append(icon(style.icon, 12), style.word);
    const first = html("span", { class: "jpp-runline" }, badge, html("span", {}, run.started ? formatMoment(run.started) : run.run), html("span", { class: "jpg-soft jpp-ganttime" }, run.seconds ? formatDuration(run.seconds) : ""));
    const counts = Object.entries(run.steps ?? {}).map(([name, count]) => `${count} ${styleOf(this.looks, name).word}`).join(", ");
    const open = html("button", { type: "button", class: "jpp-run", title: `run ${run.run}`, "aria-expanded": String(this.openRun === run.run), ...FOCUSABLE }, first, html("span", { class: "jpg-soft" }, counts));
    open.addEventListener("click", () => void this.open(run.run));
    return html("div", { class: "jpp-runrow" }, box, open);
  }

  private get looks(): Record<string, StateStyle> {
    return this.model.graph?.looks ?? {};
  }

  private toggleChosen(run: string, on: boolean): void {
    this.chosenRuns = on ? [...this.chosenRuns.slice(-1), run] : this.chosenRuns.filter((chosenRun) => chosenRun !== run);
    this.show();
  }

  private async open(run: string): Promise<void> {
    this.openRun = this.openRun === run ? "" : run;
    this.openRunState = this.stateOf(run);
    this.show();
    if (!this.openRun) {
      this.details.replaceChildren();
      return;
    }
    await this.showRun(run);
  }

  private async showRun(run: string): Promise<void> {
    this.openRunState = this.stateOf(run);
    await this.showDetails(async () => {
      const runDocument = await this.model.api.run(this.model.path, run);
      const parameters = Object.entries(this.model.runs.find((summary) => summary.run === run)?.parameters ?? {});
      return [
        html("h4", {}, `run ${run}`),
        html("div", {}, runDocument.statuses.headline ?? runDocument.state),
        html("div", { class: "jpg-soft jpp-given" }, parameters.map(([name, value]) => `${name}=${JSON.stringify(value)}`).join("  ")),
        ganttOf(runDocument.timeline, this.looks, (step) => this.model.select(step)),
      ];
    });
  }

  private stateOf(run: string): string {
    return this.model.runs.find((summary) => summary.run === run)?.state ?? "";
  }

  private async compare(): Promise<void> {
    // The older run first: runs are listed newest first.
    const order = this.model.runs.map((summary) => summary.run);
    const [later, earlier] = [...this.chosenRuns].sort((a, b) => order.indexOf(a) - order.indexOf(b));
    await this.showDetails(async () => {
      const { text } = await this.model.api.diff(this.model.path, earlier, later);
      return [html("h4", {}, "difference"), html("pre", { tabindex: 0, ...FOCUSABLE }, text || "no difference")];
    });
  }

  private async showDetails(work: () => Promise<Node[]>): Promise<void> {
    try {
      this.details.replaceChildren(...(await work()));
    } catch (error) {
      this.details.replaceChildren(html("pre", { role: "alert" }, messageOf(error)));
    }
  }
}
