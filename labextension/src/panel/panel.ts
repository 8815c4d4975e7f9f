// The pipeline of the notebook that is open, in the side area.

import type { JupyterFrontEnd } from "@jupyterlab/application";
import type { TranslationBundle } from "@jupyterlab/translation";
import { Widget } from "@lumino/widgets";
import { DetailView } from "../graph/detail";
import { button, html } from "../graph/elements";
import { RailView } from "../graph/rail";
import { followTheme } from "../graph/style";
import { needsOf } from "../foreseeing";
import { NO_STEPS } from "../model";
import type { NotebookPipeline } from "../model";
import { ParameterForm } from "./form";
import { problemsOf } from "./problems";
import { RunsView } from "./runs";
import { sourceOf } from "./source";
import { addPanelStyle } from "./style";

type Section = HTMLDetailsElement;

export class PipelinePanel extends Widget {
  private model: NotebookPipeline | null = null;
  private rail: RailView | null = null;
  private detail: DetailView | null = null;
  private runsView: RunsView | null = null;
  private graphShown: unknown = null;
  private readonly box = html("div", { class: "jpg" });
  private readonly title_ = html("h2", {});
  private readonly state = html("div", { class: "jpp-state", role: "status" });
  private readonly trouble = html("div", { class: "jpp-trouble", role: "alert", hidden: true });
  private readonly old = html("div", { class: "jpp-note", hidden: true });
  private readonly buttons: Record<"run" | "to" | "force" | "cancel", HTMLButtonElement>;
  private readonly form: ParameterForm;
  private readonly rails = html("div", { class: "jpp-rails" });
  private readonly details = html("div", {});
  private readonly empty = html("div", { class: "jpp-empty" });
  private readonly parameters: Section;
  private readonly problems: Section;
  private readonly runs: Section;

  constructor(
    private readonly app: JupyterFrontEnd,
    private readonly words: TranslationBundle,
  ) {
    super();
    addPanelStyle();
    this.addClass("jpp");
    followTheme(this.box);
    const order = (make: (step: string) => object) => () => void this.model?.run(make(this.model.selected));
    this.buttons = {
      run: button(words.__("Run"), order(() => ({})), { class: "jpg-button jpg-primary" }),
      to: button(words.__("Run to here"), order((step) => ({ to: [step] }))),
      force: button(words.__("Force"), order((step) => ({ force: [step], to: [step] }))),
      cancel: button(words.__("Cancel"), () => void this.model?.cancel(), { class: "jpg-button jpg-stop" }),
    };
    this.form = new ParameterForm((name, text) => this.model?.setParameter(name, text));
    this.parameters = section(words.__("Parameters"), this.form.element);
    this.problems = section(words.__("Problems"));
    this.runs = section(words.__("Runs"));
    this.runs.addEventListener("toggle", () => this.runs.open && void this.model?.loadRuns());
    const graph = button(words.__("Graph"), () => void app.commands.execute("jupyter-pipelines:open-graph"), { title: words.__("open the graph in a tab") });
    const top = html("div", { class: "jpp-top" }, html("div", { class: "jpp-titles" }, this.title_, graph), this.state, html("div", { class: "jpp-buttons" }, ...Object.values(this.buttons)), this.old, this.trouble);
    this.box.append(top, this.empty, this.problems, this.parameters, this.rails, this.details, this.runs);
    this.node.append(this.box);
    this.paint();
  }

  // Shows another notebook, or none.
  follow(model: NotebookPipeline | null): void {
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
      this.detail = new DetailView(this.details, sourceOf(this.app, model));
      this.runsView = new RunsView(model);
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
    this.title_.textContent = model ? (model.path.split("/").pop() ?? "") : this.words.__("Pipeline");
    this.state.textContent = model?.headline ?? "";
    this.state.dataset.run = model?.active ?? "";
    this.trouble.hidden = !model?.trouble;
    this.trouble.textContent = model?.trouble ?? "";
    [this.rails, this.details, this.parameters, this.runs].forEach((one) => (one.hidden = !steps));
    this.old.hidden = !model?.isOld;
    this.old.textContent = model?.isOld ? this.words.__("The cells make no pipeline just now. Below is the last one that they made.") : "";
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
    const chosen = model?.selected ?? "";
    const wrong = model?.faults.some((one) => one.severity === "error") ?? false;
    const ready = steps && !running && !wrong;
    const why = running ? this.words.__("a run is going on") : wrong ? this.words.__("there are problems to solve first") : "";
    this.buttons.run.disabled = !ready;
    this.buttons.run.title = why || (model?.headline ?? "");
    for (const [one, verb] of [[this.buttons.to, this.words.__("run")], [this.buttons.force, this.words.__("compute again")]] as const) {
      one.disabled = !ready || !chosen;
      one.title = why || (chosen && model ? `${verb} ${chosen}; ${this.foreseenTo(model, chosen)}` : this.words.__("select a step first"));
    }
    const leaving = running ? this.buttons.run : this.buttons.cancel;
    const focused = leaving === document.activeElement;
    this.buttons.cancel.title = this.words.__("what is finished is kept");
    this.buttons.cancel.hidden = !running;
    this.buttons.run.hidden = running;
    (this.buttons.run.parentElement as HTMLElement).hidden = !steps && !running;
    if (focused) {
      (running ? this.buttons.cancel : this.buttons.run).focus();
    }
  }

  private foreseenTo(model: NotebookPipeline, step: string): string {
    const needed = model.graph ? [...needsOf(model.graph, step)] : [];
    const kept = needed.filter((one) => model.statuses.steps[one]?.decision === "reuse").length;
    return `${needed.length - kept} ${this.words.__("to run")}, ${kept} ${this.words.__("to reuse")}`;
  }

  private paintProblems(model: NotebookPipeline | null): void {
    const faults = (model?.faults ?? []).filter((one) => one.code !== NO_STEPS);
    this.problems.hidden = !faults.length;
    const title = this.problems.querySelector("summary");
    if (title) {
      title.textContent = `${this.words.__("Problems")} (${faults.length})`;
    }
    const go = (cell: number) => void model?.show(cell - 1);
    this.problems.querySelector(":scope > div")?.replaceChildren(problemsOf(faults, go));
    if (faults.some((one) => one.severity === "error")) {
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
      this.empty.replaceChildren(html("p", {}, this.words.__("Open a notebook to see its pipeline.")));
      return;
    }
    const execute = (command: string) => () => void this.app.commands.execute(command);
    this.empty.replaceChildren(
      html("p", {}, this.words.__("This notebook has no steps yet. A cell that begins with `%%%%step NAME` becomes a step; what it takes and makes is found by itself.")),
      html("div", { class: "jpp-buttons" }, button(this.words.__("Mark this cell as a step"), execute("jupyter-pipelines:mark-step")), button(this.words.__("Convert this notebook"), execute("jupyter-pipelines:convert"))),
    );
  }
}

function section(title: string, content?: HTMLElement): Section {
  return html("details", {}, html("summary", { "data-lm-suppress-shortcuts": "true" }, title), html("div", {}, ...(content ? [content] : [])));
}
