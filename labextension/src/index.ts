// What JupyterLab and Jupyter Notebook load.
import type { JupyterFrontEnd, JupyterFrontEndPlugin } from "@jupyterlab/application";

const panel: JupyterFrontEndPlugin<void> = {
  id: "@jupyter-pipelines/labextension:plugin",
  description: "The pipeline of the notebook that is open.",
  autoStart: true,
  activate: (_app: JupyterFrontEnd) => undefined,
};

export default [panel];
