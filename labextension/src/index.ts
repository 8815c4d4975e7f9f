// What JupyterLab and Jupyter Notebook load.
import { panel } from "./panel/plugin";
import { renderer } from "./renderer";

export default [panel, renderer];
