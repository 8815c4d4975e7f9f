// Provides the details of a step from the server, and opens its cell, its executed notebook and the debugger.

import type { JupyterFrontEnd } from "@jupyterlab/application";
import { NotebookActions } from "@jupyterlab/notebook";
import type { OutputPreview, DetailsSource } from "../graph/documents";
import type { NotebookPipeline } from "../notebookPipeline";
import { showExecuted } from "./executedNotebook";

export function sourceOf(app: JupyterFrontEnd, model: NotebookPipeline): DetailsSource {
  return {
    live: true,
    preview: (step: string, output: string): Promise<OutputPreview> => model.api.preview(model.path, step, output),
    log: async (step: string): Promise<string> => {
      const run = model.runOf(step);
      return run ? model.api.log(model.path, run, step) : "";
    },
    dependencies: (step: string): Promise<string[]> => model.api.dependencies(model.path, step),
    openCell: (step: string) => void model.show(model.indexOf(step)),
    openNotebook: (step: string) => void openExecuted(app, model, step),
    debug: (step: string) => offerDebug(model, step),
  };
}

async function openExecuted(app: JupyterFrontEnd, model: NotebookPipeline, step: string): Promise<void> {
  const run = model.runOf(step);
  if (!run) {
    return;
  }
  const executed = await model.api.executed(model.path, run, step);
  if (executed.path && !executed.path.split("/").some((segment) => segment.startsWith("."))) {
    await app.commands.execute("docmanager:open", { path: executed.path });
  } else {
    showExecuted(app, model, step, run, executed.notebook);
  }
}

// Inserts a debug cell below the step's cell; the user executes it.
function offerDebug(model: NotebookPipeline, step: string): void {
  const index = model.indexOf(step);
  const notebook = model.panel.content;
  if (index >= 0) {
    notebook.activeCellIndex = index;
    NotebookActions.insertBelow(notebook);
    notebook.activeCell?.model.sharedModel.setSource(`%pipeline debug ${step}`);
    void model.show(notebook.activeCellIndex);
  }
}
