// Earlier runs: how each went, when its steps worked, and two of them side by side.

import type { RunSummary } from "../api";
import { FOCUSABLE, button, html } from "../graph/elements";
import { stateClass } from "../graph/style";
import { duration } from "../graph/words";
import { messageOf } from "../model";
import type { NotebookPipeline } from "../model";
import { ganttOf } from "./gantt";

export class RunsView {
  readonly element = html("div", { class: "jpp-runs" });
  private readonly list = html("div", {});
  private readonly room = html("div", {});
  private chosen: string[] = [];
  private shown = "";

  constructor(private readonly model: NotebookPipeline) {
    this.element.append(this.list, this.room);
  }

  show(): void {
    const signature = JSON.stringify([this.model.runs, this.chosen]);
    if (signature === this.shown) {
      return;
    }
    this.shown = signature;
    const { runs } = this.model;
    const rows = runs.map((run) => this.row(run));
    const compare = button("Compare two", () => void this.compare(), { disabled: this.chosen.length !== 2, title: "choose two runs" });
    this.list.replaceChildren(...(runs.length ? [compare, ...rows] : [html("p", { class: "jpg-soft" }, "No run yet.")]));
  }

  private row(run: RunSummary): HTMLElement {
    const box = html("input", { type: "checkbox", "aria-label": `choose run ${run.run}`, ...FOCUSABLE });
    box.checked = this.chosen.includes(run.run);
    box.addEventListener("change", () => this.choose(run.run, box.checked));
    const when = run.started ? new Date(run.started).toLocaleString() : run.run;
    const open = button(when, () => void this.open(run.run), { class: "jpg-button jpp-run", title: `run ${run.run}` });
    const state = html("span", { class: `jpg-badge ${stateClass(run.state)}` }, run.state);
    const counts = Object.entries(run.steps ?? {}).map(([name, count]) => `${count} ${name}`).join(", ");
    return html("div", { class: "jpp-runrow" }, box, state, open, html("span", { class: "jpg-soft" }, [run.seconds ? duration(run.seconds) : "", counts].filter((one) => one).join(" · ")));
  }

  private choose(run: string, on: boolean): void {
    this.chosen = on ? [...this.chosen.slice(-1), run] : this.chosen.filter((one) => one !== run);
    this.show();
  }

  private async open(run: string): Promise<void> {
    await this.fill(async () => {
      const found = await this.model.api.run(this.model.path, run);
      const parameters = Object.entries(this.model.runs.find((one) => one.run === run)?.parameters ?? {});
      return [
        html("h4", {}, `run ${run}`),
        html("div", {}, found.statuses.headline ?? found.state),
        html("div", { class: "jpg-soft" }, parameters.map(([name, value]) => `${name}=${JSON.stringify(value)}`).join("  ")),
        ganttOf(found.timeline, (step) => this.model.select(step)),
      ];
    });
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
