// What happens at the cells: badges, the form, names, completion, drag and drop.

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from "@jupyterlab/application";
import { ICommandPalette, Notification } from "@jupyterlab/apputils";
import { IEditorExtensionRegistry } from "@jupyterlab/codemirror";
import { ICompletionProviderManager } from "@jupyterlab/completer";
import { INotebookTracker } from "@jupyterlab/notebook";
import { ITranslator, nullTranslator } from "@jupyterlab/translation";
import type { TranslationBundle } from "@jupyterlab/translation";
import type { ReadonlyJSONObject } from "@lumino/coreutils";
import { Menu } from "@lumino/widgets";
import { OUTPUT_TYPE } from "../graph/detail";
import { messageOf } from "../model";
import type { NotebookPipeline } from "../model";
import { CATEGORY, SHOW } from "../panel/commands";
import { IPipelines } from "../panel/plugin";
import type { Pipelines } from "../panel/plugin";
import { sourceOf } from "../panel/source";
import { Badges } from "./badges";
import { editHeader, removeHeader } from "./form";
import { HeaderCompletion, addHover } from "./helping";
import { chooseAndConnect, connect, renameOutput, renameStep } from "./renaming";
import { addCellStyle } from "./style";

interface Command {
  label: string;
  caption: string;
  needs: "cell" | "step";
  act: (model: NotebookPipeline, what: string) => unknown;
}

export const cells: JupyterFrontEndPlugin<void> = {
  id: "@jupyter-pipelines/labextension:cells",
  description: "Steps at their cells: badges, a form for headers, names, completion, drag and drop.",
  autoStart: true,
  requires: [IPipelines, INotebookTracker],
  optional: [ICommandPalette, ICompletionProviderManager, IEditorExtensionRegistry, ITranslator],
  activate: (
    app: JupyterFrontEnd,
    pipelines: Pipelines,
    _notebooks: INotebookTracker,
    palette: ICommandPalette | null,
    completers: ICompletionProviderManager | null,
    extensions: IEditorExtensionRegistry | null,
    translator: ITranslator | null,
  ) => {
    const words = (translator ?? nullTranslator).load("jupyter_pipelines");
    addCellStyle();
    addCommands(app, pipelines, words).forEach((command) => palette?.addItem({ command, category: CATEGORY }));
    completers?.registerProvider(new HeaderCompletion(pipelines));
    if (extensions) {
      addHover(extensions, pipelines);
    }
    const attach = (model: NotebookPipeline) => {
      const badges = new Badges(model, (step, at) => openMenu(app, model, step, at), () => pipelines.settings.badges);
      badges.paint();
    };
    pipelines.all.forEach(attach);
    pipelines.added.connect((_, model) => attach(model));
    listenToDrops(pipelines);
  },
};

function addCommands(app: JupyterFrontEnd, pipelines: Pipelines, words: TranslationBundle): string[] {
  const commands = tableOf(app, words);
  for (const [id, command] of Object.entries(commands)) {
    const name = command.needs;
    const help = name === "cell" ? words.__("Id of the cell; the active one by default.") : words.__("Name of the step; that of the active cell, or the selected one, by default.");
    const properties: ReadonlyJSONObject = { [name]: { type: "string", description: help } };
    app.commands.addCommand(id, {
      label: command.label,
      caption: command.caption,
      describedBy: { args: { type: "object", properties } },
      isEnabled: () => Boolean(pipelines.current),
      execute: async (given) => {
        const model = pipelines.current;
        const asked = given[name];
        const what = typeof asked === "string" ? asked : model ? usual(model, name) : "";
        if (!model || !what) {
          Notification.info(words.__("Select a step first, in the panel or by its badge."), { autoClose: 4000 });
          return;
        }
        try {
          await command.act(model, what);
        } catch (error) {
          Notification.error(messageOf(error));
        }
      },
    });
  }
  return Object.keys(commands);
}

function usual(model: NotebookPipeline, needs: "cell" | "step"): string {
  const cell = model.panel.content.activeCell?.model.id ?? "";
  return needs === "cell" ? cell : (model.cells[cell]?.step ?? model.selected);
}

function tableOf(app: JupyterFrontEnd, words: TranslationBundle): Record<string, Command> {
  return {
    "jupyter-pipelines:mark-step": { label: words.__("Mark Cell as Step…"), caption: words.__("Make this cell a step of the pipeline"), needs: "cell", act: editHeader },
    "jupyter-pipelines:edit-step": { label: words.__("Edit Step…"), caption: words.__("Change name, interface and options of the step in this cell"), needs: "cell", act: editHeader },
    "jupyter-pipelines:unmark-step": { label: words.__("Make Step an Ordinary Cell"), caption: words.__("Take the header away; the code stays"), needs: "cell", act: removeHeader },
    "jupyter-pipelines:rename-step": { label: words.__("Rename Step…"), caption: words.__("Give a step another name wherever it is used"), needs: "step", act: renameStep },
    "jupyter-pipelines:rename-output": { label: words.__("Rename Output…"), caption: words.__("Give an output another name, in headers and in code"), needs: "step", act: renameOutput },
    "jupyter-pipelines:connect": { label: words.__("Connect Output to Step…"), caption: words.__("Make an output of another step an input of this one"), needs: "step", act: chooseAndConnect },
    "jupyter-pipelines:open-executed": { label: words.__("Open Executed Notebook of Step"), caption: words.__("Show the step as it was executed"), needs: "step", act: (model, step) => sourceOf(app, model).openNotebook?.(step) },
  };
}

// The menu of a badge.
function openMenu(app: JupyterFrontEnd, model: NotebookPipeline, step: string, at: HTMLElement): void {
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
  const box = at.getBoundingClientRect();
  menu.open(box.left, box.bottom);
}

// An output that is dropped onto a cell, a row or a box becomes an input of the step there.
function listenToDrops(pipelines: Pipelines): void {
  const stepAt = (event: DragEvent): string => {
    const target = event.target instanceof Element ? event.target : null;
    const row = target?.closest(".jpg-row, .jpg-node.jpg-step")?.getAttribute("data-id");
    if (row) {
      return row;
    }
    const node = target?.closest(".jp-Notebook .jp-Cell");
    const model = pipelines.current;
    const cell = node && model ? model.panel.content.widgets.find((one) => one.node === node) : undefined;
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
