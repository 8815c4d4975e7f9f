// The plugin for cells: badges, header form, renaming, completion, drag and drop.

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from "@jupyterlab/application";
import { ICommandPalette, Notification } from "@jupyterlab/apputils";
import { IEditorExtensionRegistry } from "@jupyterlab/codemirror";
import { ICompletionProviderManager } from "@jupyterlab/completer";
import { INotebookTracker } from "@jupyterlab/notebook";
import { ITranslator, nullTranslator } from "@jupyterlab/translation";
import type { TranslationBundle } from "@jupyterlab/translation";
import type { ReadonlyJSONObject } from "@lumino/coreutils";
import { Menu } from "@lumino/widgets";
import { OUTPUT_TYPE } from "../graph/detailsPane";
import { messageOf } from "../notebookPipeline";
import type { NotebookPipeline } from "../notebookPipeline";
import { CATEGORY, SHOW } from "../panel/commands";
import { IPipelines } from "../panel/panelPlugin";
import type { PipelineRegistry } from "../panel/panelPlugin";
import { sourceOf } from "../panel/serverSource";
import { CellBadges } from "./cellBadges";
import { editHeader, removeHeader } from "./headerForm";
import { HeaderCompletion, addHover } from "./completion";
import { chooseAndConnect, connect, renameOutput, renameStep } from "./rename";
import { addCellStyle } from "./cellStyle";

interface CellCommand {
  label: string;
  caption: string;
  needs: "cell" | "step";
  act: (model: NotebookPipeline, target: string) => unknown;
}

export const cells: JupyterFrontEndPlugin<void> = {
  id: "@jupyter-pipelines/labextension:cells",
  description: "Steps at their cells: badges, a form for headers, names, completion, drag and drop.",
  autoStart: true,
  requires: [IPipelines, INotebookTracker],
  optional: [ICommandPalette, ICompletionProviderManager, IEditorExtensionRegistry, ITranslator],
  activate: (
    app: JupyterFrontEnd,
    pipelines: PipelineRegistry,
    _notebooks: INotebookTracker,
    palette: ICommandPalette | null,
    completers: ICompletionProviderManager | null,
    extensions: IEditorExtensionRegistry | null,
    translator: ITranslator | null,
  ) => {
    const trans = (translator ?? nullTranslator).load("jupyter_pipelines");
    addCellStyle();
    addCommands(app, pipelines, trans).forEach((command) => palette?.addItem({ command, category: CATEGORY }));
    completers?.registerProvider(new HeaderCompletion(pipelines));
    if (extensions) {
      addHover(extensions, pipelines);
    }
    const addBadges = (model: NotebookPipeline) => {
      const badges = new CellBadges(model, (step, anchor) => openMenu(app, model, step, anchor), () => pipelines.settings.badges);
      badges.paint();
    };
    pipelines.all.forEach(addBadges);
    pipelines.added.connect((_, model) => addBadges(model));
    listenToDrops(pipelines);
  },
};

function addCommands(app: JupyterFrontEnd, pipelines: PipelineRegistry, trans: TranslationBundle): string[] {
  const commands = commandTable(app, trans);
  for (const [id, command] of Object.entries(commands)) {
    const name = command.needs;
    const help = name === "cell" ? trans.__("Id of the cell; the active one by default.") : trans.__("Name of the step; that of the active cell, or the selected one, by default.");
    const properties: ReadonlyJSONObject = { [name]: { type: "string", description: help } };
    app.commands.addCommand(id, {
      label: command.label,
      caption: command.caption,
      describedBy: { args: { type: "object", properties } },
      isEnabled: () => Boolean(pipelines.current),
      execute: async (args) => {
        const model = pipelines.current;
        const argument = args[name];
        const target = typeof argument === "string" ? argument : model ? defaultTarget(model, name) : "";
        if (!model || !target) {
          Notification.info(trans.__("Select a step first, in the panel or by its badge."), { autoClose: 4000 });
          return;
        }
        try {
          await command.act(model, target);
        } catch (error) {
          Notification.error(messageOf(error));
        }
      },
    });
  }
  return Object.keys(commands);
}

function defaultTarget(model: NotebookPipeline, needs: "cell" | "step"): string {
  const cell = model.panel.content.activeCell?.model.id ?? "";
  return needs === "cell" ? cell : (model.cells[cell]?.step ?? model.selected);
}

function commandTable(app: JupyterFrontEnd, trans: TranslationBundle): Record<string, CellCommand> {
  return {
    "jupyter-pipelines:mark-step": { label: trans.__("Mark Cell as Step…"), caption: trans.__("Make this cell a step of the pipeline"), needs: "cell", act: editHeader },
    "jupyter-pipelines:edit-step": { label: trans.__("Edit Step…"), caption: trans.__("Change name, interface and options of the step in this cell"), needs: "cell", act: editHeader },
    "jupyter-pipelines:unmark-step": { label: trans.__("Make Step an Ordinary Cell"), caption: trans.__("Take the header away; the code stays"), needs: "cell", act: removeHeader },
    "jupyter-pipelines:rename-step": { label: trans.__("Rename Step…"), caption: trans.__("Give a step another name wherever it is used"), needs: "step", act: renameStep },
    "jupyter-pipelines:rename-output": { label: trans.__("Rename Output…"), caption: trans.__("Give an output another name, in headers and in code"), needs: "step", act: renameOutput },
    "jupyter-pipelines:connect": { label: trans.__("Connect Output to Step…"), caption: trans.__("Make an output of another step an input of this one"), needs: "step", act: chooseAndConnect },
    "jupyter-pipelines:open-executed": { label: trans.__("Open Executed Notebook of Step"), caption: trans.__("Show the step as it was executed"), needs: "step", act: (model, step) => sourceOf(app, model).openNotebook?.(step) },
  };
}

// The menu of a badge.
function openMenu(app: JupyterFrontEnd, model: NotebookPipeline, step: string, anchor: HTMLElement): void {
  model.select(step);
  const menu = new Menu({ commands: app.commands });
  menu.addItem({ command: "jupyter-pipelines:run-to", args: { step } });
  menu.addItem({ command: "jupyter-pipelines:force", args: { step } });
  menu.addItem({ command: SHOW });
  menu.addItem({ type: "separator" });
  const cell = Object.entries(model.cells).find(([, about]) => about.step === step)?.[0] ?? "";
  menu.addItem({ command: "jupyter-pipelines:edit-step", args: { cell } });
  menu.addItem({ command: "jupyter-pipelines:rename-step", args: { step } });
  menu.addItem({ command: "jupyter-pipelines:connect", args: { step } });
  menu.addItem({ command: "jupyter-pipelines:open-executed", args: { step } });
  const box = anchor.getBoundingClientRect();
  menu.open(box.left, box.bottom);
}

// An output that is dropped onto a cell, a row or a box becomes an input of the step there.
function listenToDrops(pipelines: PipelineRegistry): void {
  const stepAt = (event: DragEvent): string => {
    const target = event.target instanceof Element ? event.target : null;
    const row = target?.closest(".jpg-row, .jpg-node.jpg-step")?.getAttribute("data-id");
    if (row) {
      return row;
    }
    const node = target?.closest(".jp-Notebook .jp-Cell");
    const model = pipelines.current;
    const cell = node && model ? model.panel.content.widgets.find((cellWidget) => cellWidget.node === node) : undefined;
    return cell && model ? (model.cells[cell.model.id]?.step ?? "") : "";
  };
  const carries = (event: DragEvent) => event.dataTransfer?.types.includes(OUTPUT_TYPE) ?? false;
  document.addEventListener("dragover", (event) => {
    if (carries(event) && stepAt(event)) {
      event.preventDefault();
    }
  });
  document.addEventListener("drop", (event) => {
    const source = event.dataTransfer?.getData(OUTPUT_TYPE);
    const step = carries(event) ? stepAt(event) : "";
    if (source && step && pipelines.current) {
      event.preventDefault();
      event.stopPropagation();
      void connect(pipelines.current, source, step);
    }
  }, true);
}
