// A read-only view of an executed notebook: JupyterLab opens no files in hidden folders, and executed notebooks must not be edited.

import type { JupyterFrontEnd } from "@jupyterlab/application";
import { MainAreaWidget } from "@jupyterlab/apputils";
import { Widget } from "@lumino/widgets";
import { FOCUSABLE, html } from "../graph/dom";
import { followTheme } from "../graph/graphStyle";
import type { NotebookPipeline } from "../notebookPipeline";

interface CellOutput {
  output_type?: string;
  text?: string | string[];
  data?: Record<string, unknown>;
  traceback?: string[];
  ename?: string;
  evalue?: string;
}

interface ExecutedCell {
  cell_type?: string;
  source?: string | string[];
  outputs?: CellOutput[];
}

const ANSI = /\x1b\[[0-9;]*[A-Za-z]/g;
const MAX_TEXT = 20_000;

export function showExecuted(app: JupyterFrontEnd, model: NotebookPipeline, step: string, run: string, notebook: unknown): void {
  const content = new Widget({ node: notebookPage(step, run, (notebook as { cells?: ExecutedCell[] }).cells ?? []) });
  const widget = new MainAreaWidget({ content });
  widget.id = `jupyter-pipelines-executed-${run}-${step}`;
  widget.title.label = `${step} (run ${run.slice(-6)})`;
  widget.title.caption = `executed notebook of ${step}, run ${run} of ${model.path}`;
  widget.title.closable = true;
  app.shell.add(widget, "main");
  app.shell.activateById(widget.id);
}

function notebookPage(step: string, run: string, cells: ExecutedCell[]): HTMLElement {
  const page = html("div", { class: "jpg", style: "height:100%" });
  followTheme(page);
  const list = html("div", { class: "jpg-detailpane", style: "max-height:none;flex:1", tabindex: 0, ...FOCUSABLE });
  list.append(html("h3", {}, `${step}, as run ${run} executed it`));
  for (const cell of cells) {
    list.append(html("pre", {}, joined(cell.source)));
    for (const output of cell.outputs ?? []) {
      list.append(outputNode(output));
    }
  }
  page.append(list);
  return page;
}

function outputNode(output: CellOutput): Node {
  const image = output.data?.["image/png"];
  if (typeof image === "string" && /^[A-Za-z0-9+/=\s]+$/.test(image)) {
    return html("img", { src: `data:image/png;base64,${image.replace(/\s/g, "")}`, alt: "picture that the step showed" });
  }
  const text = output.output_type === "error" ? (output.traceback ?? [`${output.ename ?? ""}: ${output.evalue ?? ""}`]).join("\n") : joined(output.text ?? (output.data?.["text/plain"] as string | string[] | undefined));
  return html("pre", { class: "jpg-soft" }, text.replace(ANSI, "").slice(0, MAX_TEXT));
}

function joined(text: string | string[] | undefined): string {
  return Array.isArray(text) ? text.join("") : (text ?? "");
}
