// The plugins that JupyterLab and Jupyter Notebook load.
import { cells } from "./cells/cellsPlugin";
import { panel } from "./panel/panelPlugin";
import { renderer } from "./outputRenderer";

export default [panel, cells, renderer];
