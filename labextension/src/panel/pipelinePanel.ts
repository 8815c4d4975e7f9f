// The side panel with the pipeline of the current notebook.

import type { JupyterFrontEnd } from "@jupyterlab/application";
import type { TranslationBundle } from "@jupyterlab/translation";
import { Widget } from "@lumino/widgets";
import { DetailsPane } from "../graph/detailsPane";
import { button, html } from "../graph/dom";
import { RailView } from "../graph/railView";
import { followTheme } from "../graph/graphStyle";
import { upstreamOf } from "../planStatus";
import { NO_STEPS } from "../notebookPipeline";
import type { NotebookPipeline } from "../notebookPipeline";
import { ParameterForm } from "./parameterForm";
import { problemsOf } from "./problemList";
import { RunHistoryView } from "./runHistory";
import { sourceOf } from "./serverSource";
import { addPanelStyle } from "./panelStyle";

type PanelSection = HTMLDetailsElement;

export class PipelinePanel extends Widget {
  private model: NotebookPipeline | null = null;
  private rail: RailView | null = null;
  private detail: DetailsPane | null = null;
  private runsView: RunHistoryView | null = null;
  private graphShown: unknown = null;
  private readonly box = html("div", { class: "jpg" });
  private readonly heading = html("h2", {});
  private readonly state = html("div", { class: "jpp-state", role: "status" });
  private readonly problemBox = html("div", { class: "jpp-trouble", role: "alert", hidden: true });
  private readonly outdatedNote = html("div", { class: "jpp-note", hidden: true });
  private readonly buttons: Record<"run" | "to" | "force" | "cancel", HTMLButtonElement>;
  private readonly form: ParameterForm;
  private readonly rails = html("div", { class: "jpp-rails" });
  private readonly details = html("div", {});
  private readonly empty = html("div", { class: "jpp-empty" });
  private readonly parameters: PanelSection;
  private readonly problems: PanelSection;
  private readonly runs: PanelSection;

  constructor(
    private readonly app: JupyterFrontEnd,
    private readonly trans: TranslationBundle,
  ) {
    super();
    addPanelStyle();
    this.addClass("jpp");
    followTheme(this.box);
    const runAction = (make: (step: string) => object) => () => void this.model?.run(make(this.model.selected));
    this.buttons = {
      run: button(trans.__("Run"), runAction(() => ({})), { class: "jpg-button jpg-primary" }),
      to: button(trans.__("Run to here"), runAction((step) => ({ to: [step] }))),
      force: button(trans.__("Force"), runAction((step) => ({ force: [step], to: [step] }))),
      cancel: button(trans.__("Cancel"), () => void this.model?.cancel(), { class: "jpg-button jpg-stop" }),
    };
    this.form = new ParameterForm((name, text) => this.model?.setParameter(name, text));
    this.parameters = section(trans.__("Parameters"), this.form.element);
    this.problems = section(trans.__("Problems"));
    this.runs = section(trans.__("Runs"));
    this.runs.addEventListener("toggle", () => this.runs.open && void this.model?.loadRuns());
    const graph = button(trans.__("Graph"), () => void app.commands.execute("jupyter-pipelines:open-graph"), { title: trans.__("open the graph in a tab") });
    const top = html("div", { class: "jpp-top" }, html("div", { class: "jpp-titles" }, this.heading, graph), this.state, html("div", { class: "jpp-buttons" }, ...Object.values(this.buttons)), this.outdatedNote, this.problemBox);
    this.box.append(top, this.empty, this.problems, this.parameters, this.rails, this.details, this.runs);
    this.node.append(this.box);
    this.paint();
  }

  // Shows another notebook, or none.
  showModel(model: NotebookPipeline | null): void {
    if (model === this.model) {
      return;
    }
    this.model?.changed.disconnect(this.paint, this);
    this.rail?.dispose();
    this.detail?.dispose();
    this.model = model;
    this.graphShown = null;
    if (model) {
      this.rail = new RailView(this.rails);
      this.rail.on("select", (id) => model.select(id));
      this.rail.on("open", (id) => void model.show(model.indexOf(id)));
      this.detail = new DetailsPane(this.details, sourceOf(this.app, model));
      this.runsView = new RunHistoryView(model);
      this.runs.querySelector(":scope > div")?.replaceChildren(this.runsView.element);
      model.changed.connect(this.paint, this);
      if (this.runs.open) {
        void model.loadRuns();
      }
    }
    this.paint();
  }

  private paint(): void {
    const { model } = this;
    const steps = Boolean(model?.graph?.rails.length);
    this.heading.textContent = model ? (model.path.split("/").pop() ?? "") : this.trans.__("Pipeline");
    this.state.textContent = model?.headline ?? "";
    this.state.dataset.run = model?.active ?? "";
    this.problemBox.hidden = !model?.problem;
    this.problemBox.textContent = model?.problem ?? "";
    [this.rails, this.details, this.parameters, this.runs].forEach((block) => (block.hidden = !steps));
    this.outdatedNote.hidden = !model?.isOutdated;
    this.outdatedNote.textContent = model?.isOutdated ? this.trans.__("The cells make no pipeline just now. Below is the last one that they made.") : "";
    this.paintEmpty(model, steps);
    this.paintProblems(model);
    this.parameters.hidden = !model?.graph?.parameters.length;
    this.paintButtons(model, steps);
    if (model?.graph && steps) {
      this.paintSteps(model);
    }
  }

  private paintSteps(model: NotebookPipeline): void {
    const { graph, statuses } = model;
    if (!graph) {
      return;
    }
    if (graph !== this.graphShown) {
      this.graphShown = graph;
      this.rail?.setGraph(graph);
    }
    this.rail?.setStatuses(statuses);
    if (this.rail?.selected !== model.selected) {
      this.rail?.select(model.selected);
    }
    this.detail?.show(graph, model.selected, statuses.steps[model.selected]);
    this.form.show(graph.parameters, model.parameters, model.faults);
    this.runsView?.show();
  }

  private paintButtons(model: NotebookPipeline | null, steps: boolean): void {
    const running = Boolean(model?.active);
    const selected = model?.selected ?? "";
    const hasErrors = model?.faults.some((fault) => fault.severity === "error") ?? false;
    const ready = steps && !running && !hasErrors;
    const reason = running ? this.trans.__("a run is going on") : hasErrors ? this.trans.__("there are problems to solve first") : "";
    this.buttons.run.disabled = !ready;
    this.buttons.run.title = reason || (model?.headline ?? "");
    for (const [control, verb] of [[this.buttons.to, this.trans.__("run")], [this.buttons.force, this.trans.__("compute again")]] as const) {
      control.disabled = !ready || !selected;
      control.title = reason || (selected && model ? `${verb} ${selected}; ${this.planTo(model, selected)}` : this.trans.__("select a step first"));
    }
    const leaving = running ? this.buttons.run : this.buttons.cancel;
    const focused = leaving === document.activeElement;
    this.buttons.cancel.title = this.trans.__("what is finished is kept");
    this.buttons.cancel.hidden = !running;
    this.buttons.run.hidden = running;
    (this.buttons.run.parentElement as HTMLElement).hidden = !steps && !running;
    if (focused) {
      (running ? this.buttons.cancel : this.buttons.run).focus();
    }
  }

  private planTo(model: NotebookPipeline, step: string): string {
    const needed = model.graph ? [...upstreamOf(model.graph, step)] : [];
    const kept = needed.filter((name) => model.statuses.steps[name]?.decision === "reuse").length;
    return `${needed.length - kept} ${this.trans.__("to run")}, ${kept} ${this.trans.__("to reuse")}`;
  }

  private paintProblems(model: NotebookPipeline | null): void {
    const faults = (model?.faults ?? []).filter((fault) => fault.code !== NO_STEPS);
    this.problems.hidden = !faults.length;
    const title = this.problems.querySelector("summary");
    if (title) {
      title.textContent = `${this.trans.__("Problems")} (${faults.length})`;
    }
    const go = (cell: number) => void model?.show(cell - 1);
    this.problems.querySelector(":scope > div")?.replaceChildren(problemsOf(faults, go));
    if (faults.some((fault) => fault.severity === "error")) {
      this.problems.open = true;
    }
  }

  private paintEmpty(model: NotebookPipeline | null, steps: boolean): void {
    this.empty.hidden = steps;
    const key = model ? "no-steps" : "no-notebook";
    if (this.empty.hidden || this.empty.dataset.key === key) {
      return;
    }
    this.empty.dataset.key = key;
    if (!model) {
      this.empty.replaceChildren(html("p", {}, this.trans.__("Open a notebook to see its pipeline.")));
      return;
    }
    const execute = (command: string) => () => void this.app.commands.execute(command);
    this.empty.replaceChildren(
      html("p", {}, this.trans.__("This notebook has no steps yet. A cell that begins with `%%%%step NAME` becomes a step; what it takes and makes is found by itself.")),
      html("div", { class: "jpp-buttons" }, button(this.trans.__("Mark this cell as a step"), execute("jupyter-pipelines:mark-step")), button(this.trans.__("Convert this notebook"), execute("jupyter-pipelines:convert"))),
    );
  }
}

function section(title: string, content?: HTMLElement): PanelSection {
  return html("details", {}, html("summary", { "data-lm-suppress-shortcuts": "true" }, title), html("div", {}, ...(content ? [content] : [])));
}
