// Converts an exploratory notebook into a pipeline: a dialog for the options, progress, and the result in a tab.

import type { JupyterFrontEnd } from "@jupyterlab/application";
import { Dialog, MainAreaWidget, showDialog } from "@jupyterlab/apputils";
import { Widget } from "@lumino/widgets";
import { FOCUSABLE, html } from "../graph/dom";
import type { NotebookPipeline } from "../notebookPipeline";
import { messageOf } from "../notebookPipeline";

interface ConversionStatus {
  state: "running" | "done" | "failed";
  said: string[];
  result: { verdict?: string; target?: string | null } | null;
  page: string | null;
  message?: string;
}

const POLL_DELAY = 700;

class ConvertForm extends Widget {
  private readonly target: HTMLInputElement;
  private readonly staticOnly: HTMLInputElement;

  constructor(name: string) {
    super();
    this.target = html("input", { class: "jp-mod-styled", type: "text", value: name, ...FOCUSABLE });
    this.staticOnly = html("input", { type: "checkbox", ...FOCUSABLE });
    const note = html("p", {}, "The notebook is run, made into a pipeline, and both are compared. The notebook itself is never written to.");
    this.node.append(note, html("label", {}, "New notebook ", this.target), html("label", {}, this.staticOnly, " execute nothing (nothing is proved then)"));
  }

  getValue(): { target: string; staticOnly: boolean } {
    return { target: this.target.value.trim(), staticOnly: this.staticOnly.checked };
  }
}

export async function convert(app: JupyterFrontEnd, model: NotebookPipeline): Promise<void> {
  const name = (model.path.split("/").pop() ?? "").replace(/\.ipynb$/, ".pipeline.ipynb");
  const answer = await showDialog({ title: "Convert this notebook into a pipeline", body: new ConvertForm(name), buttons: [Dialog.cancelButton(), Dialog.okButton({ label: "Convert" })] });
  if (!answer.button.accept || !answer.value) {
    return;
  }
  if (model.panel.context.model.dirty) {
    await model.panel.context.save();
  }
  const page = openTab(app, name);
  try {
    const { conversion } = await model.api.post<{ conversion: string }>(model.path, "conversions", { target: answer.value.target || null, static: answer.value.staticOnly, dry_run: false });
    await pollConversion(app, model, page, conversion);
  } catch (error) {
    page.replaceChildren(html("p", { role: "alert" }, messageOf(error)));
  }
}

async function pollConversion(app: JupyterFrontEnd, model: NotebookPipeline, page: HTMLElement, conversion: string): Promise<void> {
  for (;;) {
    const status = await model.api.notebookRequest<ConversionStatus>(model.path, "GET", `conversions/${encodeURIComponent(conversion)}`);
    if (status.state !== "running") {
      showResult(app, page, status);
      return;
    }
    page.replaceChildren(html("p", { role: "status" }, status.said[status.said.length - 1] ?? "starting"));
    await new Promise((resolve) => window.setTimeout(resolve, POLL_DELAY));
  }
}

function showResult(app: JupyterFrontEnd, page: HTMLElement, status: ConversionStatus): void {
  const head = html("p", { role: "status", style: "padding:0 12px" }, status.result?.verdict ?? status.message ?? status.said[status.said.length - 1] ?? status.state);
  const target = status.result?.target;
  if (target) {
    const link = html("button", { type: "button", class: "jpg-button", ...FOCUSABLE }, `Open ${target.split("/").pop() ?? target}`);
    link.addEventListener("click", () => void app.commands.execute("docmanager:open", { path: target }));
    head.append(" ", link);
  }
  page.replaceChildren(head);
  if (status.page) {
    // The page contains text of the notebook: the sandbox runs no scripts and has no access to this page.
    page.append(html("iframe", { class: "jp-pipelines-page", sandbox: "", srcdoc: status.page, title: "original and pipeline side by side" }));
  }
}

function openTab(app: JupyterFrontEnd, name: string): HTMLElement {
  const page = html("div", { class: "jpg", style: "height:100%;border:0" }, html("p", { role: "status" }, "starting"));
  const content = new Widget();
  content.node.append(page);
  const widget = new MainAreaWidget({ content });
  widget.id = `jupyter-pipelines-conversion-${Date.now()}`;
  widget.title.label = `Converting ${name}`;
  widget.title.closable = true;
  app.shell.add(widget, "main");
  app.shell.activateById(widget.id);
  return page;
}
