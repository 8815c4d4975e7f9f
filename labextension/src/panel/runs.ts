// Earlier runs: how each went, when its steps worked, and two of them side by side.

import type { RunSummary } from "../api";
import { FOCUSABLE, button, html, icon } from "../graph/elements";
import { stateClass } from "../graph/style";
import type { Look } from "../graph/types";
import { duration, lookOf, whenOf } from "../graph/words";
import { messageOf } from "../model";
import type { NotebookPipeline } from "../model";
import { ganttOf } from "./gantt";

export class RunsView {
  readonly element = html("div", { class: "jpp-runs" });
  private readonly list = html("div", {});
  private readonly room = html("div", {});
  private chosen: string[] = [];
  private opened = "";
  private openedState = ""; // a run that is looked at while it goes on is shown again when it is over
  private shown = "";

  constructor(private readonly model: NotebookPipeline) {
    this.element.append(this.list, this.room);
  }

  show(): void {
    const signature = JSON.stringify([this.model.runs, this.chosen, this.opened]);
    if (signature === this.shown) {
      return;
    }
    this.shown = signature;
    const { runs } = this.model;
    const rows = runs.map((run) => this.row(run));
    const compare = button("Compare two", () => void this.compare(), { disabled: this.chosen.length !== 2, title: "choose two runs" });
    this.list.replaceChildren(...(runs.length ? [compare, ...rows] : [html("p", { class: "jpg-soft" }, "No run yet.")]));
    if (this.opened && this.stateOf(this.opened) !== this.openedState) {
      void this.fillRun(this.opened);
    }
  }

  private row(run: RunSummary): HTMLElement {
    const box = html("input", { type: "checkbox", "aria-label": `choose run ${run.run} for comparing`, ...FOCUSABLE });
    box.checked = this.chosen.includes(run.run);
    box.addEventListener("change", () => this.choose(run.run, box.checked));
    const look = lookOf(this.looks, run.state);
    const badge = html("span", { class: `jpg-badge ${stateClass(run.state)}` });
    badge.append(icon(look.icon, 12), look.word);
    const first = html("span", { class: "jpp-runline" }, badge, html("span", {}, run.started ? whenOf(run.started) : run.run), html("span", { class: "jpg-soft jpp-ganttime" }, run.seconds ? duration(run.seconds) : ""));
    const counts = Object.entries(run.steps ?? {}).map(([name, count]) => `${count} ${lookOf(this.looks, name).word}`).join(", ");
    const open = html("button", { type: "button", class: "jpp-run", title: `run ${run.run}`, "aria-expanded": String(this.opened === run.run), ...FOCUSABLE }, first, html("span", { class: "jpg-soft" }, counts));
    open.addEventListener("click", () => void this.open(run.run));
    return html("div", { class: "jpp-runrow" }, box, open);
  }

  private get looks(): Record<string, Look> {
    return this.model.graph?.looks ?? {};
  }

  private choose(run: string, on: boolean): void {
    this.chosen = on ? [...this.chosen.slice(-1), run] : this.chosen.filter((one) => one !== run);
    this.show();
  }

  private async open(run: string): Promise<void> {
    this.opened = this.opened === run ? "" : run;
    this.openedState = this.stateOf(run);
    this.show();
    if (!this.opened) {
      this.room.replaceChildren();
      return;
    }
    await this.fillRun(run);
  }

  private async fillRun(run: string): Promise<void> {
    this.openedState = this.stateOf(run);
    await this.fill(async () => {
      const found = await this.model.api.run(this.model.path, run);
      const parameters = Object.entries(this.model.runs.find((one) => one.run === run)?.parameters ?? {});
      return [
        html("h4", {}, `run ${run}`),
        html("div", {}, found.statuses.headline ?? found.state),
        html("div", { class: "jpg-soft jpp-given" }, parameters.map(([name, value]) => `${name}=${JSON.stringify(value)}`).join("  ")),
        ganttOf(found.timeline, this.looks, (step) => this.model.select(step)),
      ];
    });
  }

  private stateOf(run: string): string {
    return this.model.runs.find((one) => one.run === run)?.state ?? "";
  }

  private async compare(): Promise<void> {
    // The older one first: what is listed below was earlier.
    const order = this.model.runs.map((one) => one.run);
    const [later, earlier] = [...this.chosen].sort((a, b) => order.indexOf(a) - order.indexOf(b));
    await this.fill(async () => {
      const { text } = await this.model.api.diff(this.model.path, earlier, later);
      return [html("h4", {}, "difference"), html("pre", { tabindex: 0, ...FOCUSABLE }, text || "no difference")];
    });
  }

  private async fill(work: () => Promise<Node[]>): Promise<void> {
    try {
      this.room.replaceChildren(...(await work()));
    } catch (error) {
      this.room.replaceChildren(html("pre", { role: "alert" }, messageOf(error)));
    }
  }
}
