// The commands of the panel: each with a label, a caption and a description of its arguments.

import type { JupyterFrontEnd } from "@jupyterlab/application";
import { MainAreaWidget, Notification } from "@jupyterlab/apputils";
import type { TranslationBundle } from "@jupyterlab/translation";
import type { ReadonlyJSONObject } from "@lumino/coreutils";
import type { NotebookPipeline } from "../model";
import { messageOf } from "../model";
import { convert } from "./converting";
import { GraphTab } from "./tab";

type Find = () => NotebookPipeline | null;

interface Command {
  label: string;
  caption: string;
  step?: boolean;
  needs: "notebook" | "steps" | "idle" | "running";
  act: (model: NotebookPipeline, step: string) => unknown;
}

export const CATEGORY = "Pipelines";
export const SHOW = "jupyter-pipelines:show-panel";

export function addCommands(app: JupyterFrontEnd, words: TranslationBundle, find: Find, showPanel: () => void): string[] {
  const commands = tableOf(app, words, showPanel);
  for (const [id, command] of Object.entries(commands)) {
    const properties: ReadonlyJSONObject = command.step ? { step: { type: "string", description: words.__("Name of the step; the selected one by default.") } } : {};
    app.commands.addCommand(id, {
      label: command.label,
      caption: command.caption,
      describedBy: { args: { type: "object", properties } },
      isEnabled: () => isReady(find(), command),
      execute: async (given) => {
        const model = find();
        if (model && isReady(model, command)) {
          await command.act(model, typeof given.step === "string" ? given.step : model.selected);
        }
      },
    });
  }
  return Object.keys(commands);
}

function isReady(model: NotebookPipeline | null, command: Command): boolean {
  if (!model) {
    return false;
  }
  const steps = Boolean(model.graph?.rails.length);
  return { notebook: true, steps, idle: steps && !model.active, running: Boolean(model.active) }[command.needs];
}

function tableOf(app: JupyterFrontEnd, words: TranslationBundle, showPanel: () => void): Record<string, Command> {
  let problem = -1;
  const jump = (by: number) => (model: NotebookPipeline) => {
    const placed = model.faults.filter((one) => one.cell);
    problem = placed.length ? (problem + by + placed.length) % placed.length : -1;
    return placed.length ? model.show((placed[problem].cell ?? 1) - 1) : undefined;
  };
  const needsStep = (act: (model: NotebookPipeline, step: string) => unknown) => (model: NotebookPipeline, step: string) =>
    step ? act(model, step) : Notification.info(words.__("Select a step first, in the panel or by its badge."), { autoClose: 4000 });
  return {
    [SHOW]: { label: words.__("Show Pipeline"), caption: words.__("Show the pipeline of this notebook in the side area"), needs: "notebook", act: showPanel },
    "jupyter-pipelines:run": { label: words.__("Run Pipeline"), caption: words.__("Run what is not up to date; the rest is reused"), needs: "idle", act: (model) => model.run() },
    "jupyter-pipelines:run-to": { label: words.__("Run Pipeline to Step"), caption: words.__("Run a step and what it needs"), step: true, needs: "idle", act: needsStep((model, step) => model.run({ to: [step] })) },
    "jupyter-pipelines:force": { label: words.__("Force Step"), caption: words.__("Compute a step again although nothing changed"), step: true, needs: "idle", act: needsStep((model, step) => model.run({ to: [step], force: [step] })) },
    "jupyter-pipelines:cancel": { label: words.__("Cancel Pipeline Run"), caption: words.__("Stop the run; what is finished is kept"), needs: "running", act: (model) => model.cancel() },
    "jupyter-pipelines:check": { label: words.__("Check Pipeline"), caption: words.__("Read the notebook again and list what is wrong; nothing is executed"), needs: "notebook", act: async (model) => (await model.refresh(true), showPanel()) },
    "jupyter-pipelines:open-graph": { label: words.__("Open Pipeline Graph"), caption: words.__("Show the graph in a tab of its own"), needs: "steps", act: (model) => openGraph(app, model) },
    "jupyter-pipelines:next-problem": { label: words.__("Next Pipeline Problem"), caption: words.__("Go to the next cell with a problem"), needs: "notebook", act: jump(1) },
    "jupyter-pipelines:previous-problem": { label: words.__("Previous Pipeline Problem"), caption: words.__("Go to the cell with the problem before"), needs: "notebook", act: jump(-1) },
    "jupyter-pipelines:freeze": { label: words.__("Write Inferred Interfaces into Headers"), caption: words.__("Write what was found out about inputs, outputs and parameters into the headers"), needs: "steps", act: freeze },
    "jupyter-pipelines:convert": { label: words.__("Convert Notebook into Pipeline"), caption: words.__("Make a pipeline of an exploratory notebook, and prove that it shows the same"), needs: "notebook", act: (model) => convert(app, model) },
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
    const { cells } = await model.api.edit<{ cells: Record<string, string> }>(model.path, "freeze", { cells: model.texts() });
    model.write(cells);
    Notification.success(`${Object.keys(cells).length} headers written`, { autoClose: 3000 });
  } catch (error) {
    Notification.error(messageOf(error));
  }
}
