// Where the panel's details come from: the server; and the ways out to cells, notebooks and the kernel.

import type { JupyterFrontEnd } from "@jupyterlab/application";
import { NotebookActions } from "@jupyterlab/notebook";
import type { Preview, Source } from "../graph/types";
import type { NotebookPipeline } from "../model";
import { showExecuted } from "./executed";

export function sourceOf(app: JupyterFrontEnd, model: NotebookPipeline): Source {
  return {
    live: true,
    preview: (step: string, output: string): Promise<Preview> => model.api.preview(model.path, step, output),
    log: async (step: string): Promise<string> => {
      const run = model.runOf(step);
      return run ? model.api.log(model.path, run, step) : "";
    },
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
  const found = await model.api.executed(model.path, run, step);
  if (found.path && !found.path.split("/").some((one) => one.startsWith("."))) {
    await app.commands.execute("docmanager:open", { path: found.path });
  } else {
    showExecuted(app, model, step, run, found.notebook);
  }
}

// A cell below the step's, for the user to run: nothing is executed unasked.
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
