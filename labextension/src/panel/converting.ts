// An exploratory notebook becomes a pipeline: what is to be done is asked first, and what came of it is shown.

import type { JupyterFrontEnd } from "@jupyterlab/application";
import { Dialog, MainAreaWidget, showDialog } from "@jupyterlab/apputils";
import { Widget } from "@lumino/widgets";
import { FOCUSABLE, html } from "../graph/elements";
import type { NotebookPipeline } from "../model";
import { messageOf } from "../model";

interface Conversion {
  state: "running" | "done" | "failed";
  said: string[];
  result: { verdict?: string; target?: string | null } | null;
  page: string | null;
  message?: string;
}

const PAUSE = 700;

class Wishes extends Widget {
  private readonly target: HTMLInputElement;
  private readonly still: HTMLInputElement;

  constructor(name: string) {
    super();
    this.target = html("input", { class: "jp-mod-styled", type: "text", value: name, ...FOCUSABLE });
    this.still = html("input", { type: "checkbox", ...FOCUSABLE });
    const note = html("p", {}, "The notebook is run, made into a pipeline, and both are compared. The notebook itself is never written to.");
    this.node.append(note, html("label", {}, "New notebook ", this.target), html("label", {}, this.still, " execute nothing (nothing is proved then)"));
  }

  getValue(): { target: string; still: boolean } {
    return { target: this.target.value.trim(), still: this.still.checked };
  }
}

export async function convert(app: JupyterFrontEnd, model: NotebookPipeline): Promise<void> {
  const name = (model.path.split("/").pop() ?? "").replace(/\.ipynb$/, ".pipeline.ipynb");
  const asked = await showDialog({ title: "Convert this notebook into a pipeline", body: new Wishes(name), buttons: [Dialog.cancelButton(), Dialog.okButton({ label: "Convert" })] });
  if (!asked.button.accept || !asked.value) {
    return;
  }
  if (model.panel.context.model.dirty) {
    await model.panel.context.save();
  }
  const page = open(app, name);
  try {
    const { conversion } = await model.api.edit<{ conversion: string }>(model.path, "conversions", { target: asked.value.target || null, static: asked.value.still, dry_run: false });
    await follow(app, model, page, conversion);
  } catch (error) {
    page.replaceChildren(html("p", { role: "alert" }, messageOf(error)));
  }
}

async function follow(app: JupyterFrontEnd, model: NotebookPipeline, page: HTMLElement, conversion: string): Promise<void> {
  for (;;) {
    const found = await model.api.of<Conversion>(model.path, "GET", `conversions/${encodeURIComponent(conversion)}`);
    if (found.state !== "running") {
      finish(app, page, found);
      return;
    }
    page.replaceChildren(html("p", { role: "status" }, found.said[found.said.length - 1] ?? "starting"));
    await new Promise((resolve) => window.setTimeout(resolve, PAUSE));
  }
}

function finish(app: JupyterFrontEnd, page: HTMLElement, found: Conversion): void {
  const head = html("p", { role: "status", style: "padding:0 12px" }, found.result?.verdict ?? found.message ?? found.said[found.said.length - 1] ?? found.state);
  const target = found.result?.target;
  if (target) {
    const link = html("button", { type: "button", class: "jpg-button", ...FOCUSABLE }, `Open ${target.split("/").pop() ?? target}`);
    link.addEventListener("click", () => void app.commands.execute("docmanager:open", { path: target }));
    head.append(" ", link);
  }
  page.replaceChildren(head);
  if (found.page) {
    // What stands in it comes from the notebook: no script of it runs, and it reaches nothing of this page.
    page.append(html("iframe", { class: "jp-pipelines-page", sandbox: "", srcdoc: found.page, title: "original and pipeline side by side" }));
  }
}

function open(app: JupyterFrontEnd, name: string): HTMLElement {
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
