// What JupyterLab and Jupyter Notebook load.
import { cells } from "./cells/plugin";
import { panel } from "./panel/plugin";
import { renderer } from "./renderer";

export default [panel, cells, renderer];
