// The commands of the panel: each with a label, a caption and a description of its arguments.

import type { JupyterFrontEnd } from "@jupyterlab/application";
import { MainAreaWidget, Notification } from "@jupyterlab/apputils";
import type { TranslationBundle } from "@jupyterlab/translation";
import type { ReadonlyJSONObject } from "@lumino/coreutils";
import type { NotebookPipeline } from "../notebookPipeline";
import { messageOf } from "../notebookPipeline";
import { convert } from "./convertDialog";
import { GraphTab } from "./graphTab";

type CurrentPipeline = () => NotebookPipeline | null;

interface PanelCommand {
  label: string;
  caption: string;
  step?: boolean;
  needs: "notebook" | "steps" | "idle" | "running";
  act: (model: NotebookPipeline, step: string) => unknown;
}

export const CATEGORY = "Pipelines";
export const SHOW = "jupyter-pipelines:show-panel";

export function addCommands(app: JupyterFrontEnd, trans: TranslationBundle, currentPipeline: CurrentPipeline, showPanel: () => void): string[] {
  const commands = commandTable(app, trans, showPanel);
  for (const [id, command] of Object.entries(commands)) {
    const properties: ReadonlyJSONObject = command.step ? { step: { type: "string", description: trans.__("Name of the step; the selected one by default.") } } : {};
    app.commands.addCommand(id, {
      label: command.label,
      caption: command.caption,
      describedBy: { args: { type: "object", properties } },
      isEnabled: () => isReady(currentPipeline(), command),
      execute: async (args) => {
        const model = currentPipeline();
        if (model && isReady(model, command)) {
          await command.act(model, typeof args.step === "string" ? args.step : model.selected);
        }
      },
    });
  }
  return Object.keys(commands);
}

function isReady(model: NotebookPipeline | null, command: PanelCommand): boolean {
  if (!model) {
    return false;
  }
  const steps = Boolean(model.graph?.rails.length);
  return { notebook: true, steps, idle: steps && !model.active, running: Boolean(model.active) }[command.needs];
}

function commandTable(app: JupyterFrontEnd, trans: TranslationBundle, showPanel: () => void): Record<string, PanelCommand> {
  let problem = -1;
  const jump = (by: number) => (model: NotebookPipeline) => {
    const located = model.faults.filter((fault) => fault.cell);
    problem = located.length ? (problem + by + located.length) % located.length : -1;
    return located.length ? model.show((located[problem].cell ?? 1) - 1) : undefined;
  };
  const needsStep = (act: (model: NotebookPipeline, step: string) => unknown) => (model: NotebookPipeline, step: string) =>
    step ? act(model, step) : Notification.info(trans.__("Select a step first, in the panel or by its badge."), { autoClose: 4000 });
  return {
    [SHOW]: { label: trans.__("Show Pipeline"), caption: trans.__("Show the pipeline of this notebook in the side area"), needs: "notebook", act: showPanel },
    "jupyter-pipelines:run": { label: trans.__("Run Pipeline"), caption: trans.__("Run what is not up to date; the rest is reused"), needs: "idle", act: (model) => model.run() },
    "jupyter-pipelines:run-to": { label: trans.__("Run Pipeline to Step"), caption: trans.__("Run a step and what it needs"), step: true, needs: "idle", act: needsStep((model, step) => model.run({ to: [step] })) },
    "jupyter-pipelines:force": { label: trans.__("Force Step"), caption: trans.__("Compute a step again although nothing changed"), step: true, needs: "idle", act: needsStep((model, step) => model.run({ to: [step], force: [step] })) },
    "jupyter-pipelines:cancel": { label: trans.__("Cancel Pipeline Run"), caption: trans.__("Stop the run; what is finished is kept"), needs: "running", act: (model) => model.cancel() },
    "jupyter-pipelines:check": { label: trans.__("Check Pipeline"), caption: trans.__("Read the notebook again and list what is wrong; nothing is executed"), needs: "notebook", act: async (model) => (await model.refresh(true), showPanel()) },
    "jupyter-pipelines:open-graph": { label: trans.__("Open Pipeline Graph"), caption: trans.__("Show the graph in a tab of its own"), needs: "steps", act: (model) => openGraph(app, model) },
    "jupyter-pipelines:next-problem": { label: trans.__("Next Pipeline Problem"), caption: trans.__("Go to the next cell with a problem"), needs: "notebook", act: jump(1) },
    "jupyter-pipelines:previous-problem": { label: trans.__("Previous Pipeline Problem"), caption: trans.__("Go to the cell with the problem before"), needs: "notebook", act: jump(-1) },
    "jupyter-pipelines:freeze": { label: trans.__("Write Inferred Interfaces into Headers"), caption: trans.__("Write what was found out about inputs, outputs and parameters into the headers"), needs: "steps", act: freeze },
    "jupyter-pipelines:convert": { label: trans.__("Convert Notebook into Pipeline"), caption: trans.__("Make a pipeline of an exploratory notebook, and prove that it shows the same"), needs: "notebook", act: (model) => convert(app, model) },
  };
}

function openGraph(app: JupyterFrontEnd, model: NotebookPipeline): void {
  const id = `jupyter-pipelines-graph-${model.panel.id}`;
  for (const widget of app.shell.widgets("main")) {
    if (widget.id === id) {
      app.shell.activateById(id);
      return;
    }
  }
  const widget = new MainAreaWidget({ content: new GraphTab(model) });
  widget.id = id;
  widget.title.label = `Graph of ${model.path.split("/").pop() ?? ""}`;
  widget.title.closable = true;
  app.shell.add(widget, "main", { mode: "split-bottom", ref: model.panel.id });
  app.shell.activateById(id);
}

async function freeze(model: NotebookPipeline): Promise<void> {
  try {
    const { cells } = await model.api.post<{ cells: Record<string, string> }>(model.path, "freeze", { cells: model.cellTexts() });
    model.writeCells(cells);
    Notification.success(`${Object.keys(cells).length} headers written`, { autoClose: 3000 });
  } catch (error) {
    Notification.error(messageOf(error));
  }
}
