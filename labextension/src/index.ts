// What JupyterLab and Jupyter Notebook load.
import { renderer } from "./renderer";

export default [renderer];
