// The details of a selected step: reasons, inputs, outputs with previews, the log, and the error.

import { button, clearChildren, html, icon } from "./dom";
import { stateClass } from "./graphStyle";
import type { GraphDocument, GraphNode, OutputPreview, DetailsSource, StepStatus } from "./documents";
import { ATTEMPTED } from "../facts";
import { formatBytes, stepDetail, styleOf, stepReasons, stepTime, formatMoment } from "./format";

const LOG_PAUSE = 1000;
export const OUTPUT_TYPE = "application/x-jupyter-pipelines-output";

export class DetailsPane {
  readonly element: HTMLElement;
  private step = "";
  private shownSignature = "";
  private readonly previews = new Map<string, HTMLElement>();
  private logOpened = false;
  private dependencies = html("div", {});
  private dependenciesOf = "";

  constructor(
    host: HTMLElement,
    private readonly source: DetailsSource,
  ) {
    this.element = html("section", { class: "jpg-detailpane", "aria-label": "details of the step", hidden: true, tabindex: 0, "data-lm-suppress-shortcuts": "true" });
    host.append(this.element);
  }

  show(graph: GraphDocument, id: string, status: StepStatus | undefined): void {
    const node = graph.nodes.find((candidate) => candidate.id === id && candidate.kind === "step");
    this.element.hidden = !node;
    const signature = JSON.stringify([id, { ...status, text: "", seconds: 0 }]);
    if (!node || signature === this.shownSignature) {
      return;
    }
    this.shownSignature = signature;
    if (id !== this.step) {
      this.previews.clear();
      this.logOpened = false;
    }
    this.step = id;
    clearChildren(this.element);
    this.element.append(this.heading(graph, node, status), this.actions(node, status));
    this.appendReasons(status);
    this.appendError(status);
    this.appendList("takes", (node.inputs ?? []).map((input) => `${input.name} from ${input.from ?? "?"}${input.optional ? " (optional)" : ""}`));
    this.appendOutputs(node);
    this.appendList("parameters", node.parameters ?? []);
    this.appendList("asks for", Object.entries(node.resources ?? {}).map(([name, value]) => (value === true ? name : `${name}: ${String(value)}`)));
    this.appendDependencies(status);
    this.appendLog(status);
  }

  private heading(graph: GraphDocument, node: GraphNode, status: StepStatus | undefined): HTMLElement {
    const head = html("h3", {}, node.name);
    if (status) {
      const style = styleOf(graph.looks, status.state);
      const badge = html("span", { class: `jpg-badge ${stateClass(status.state)}` });
      badge.append(icon(style.icon, 12), style.word);
      head.append(badge, html("span", { class: "jpg-soft" }, stepTime(status, Date.now())));
    }
    return head;
  }

  private actions(node: GraphNode, status: StepStatus | undefined): HTMLElement {
    const row = html("div", { class: "jpg-actions" });
    const { source } = this;
    const cells = (node.cells ?? []).map((cell) => cell.number).join(", ");
    if (source.openCell) {
      row.append(button(`Cell ${cells}`, () => source.openCell?.(node.id), { "aria-label": `Go to cell ${cells}`, title: `go to cell ${cells}` }));
    }
    if (source.openNotebook && (status?.notebook || status?.origin)) {
      row.append(button("Notebook", () => source.openNotebook?.(node.id), { "aria-label": "Executed notebook", title: "the notebook as the step executed it" }));
    }
    if (source.debug && status?.state === "failed") {
      row.append(button("Debug", () => source.debug?.(node.id), { "aria-label": "Debug in the kernel", title: "load what the step took into the kernel" }));
    }
    return row;
  }

  private appendReasons(status: StepStatus | undefined): void {
    const reasons = status ? stepReasons(status) : [];
    for (const { text, details } of reasons.length ? reasons : [{ text: stepDetail(status), details: status?.notes ?? [] }]) {
      if (text) {
        this.element.append(html("div", { class: "jpg-why" }, text), html("ul", {}, ...details.map((detail) => html("li", {}, detail))));
      }
    }
    if (status?.origin) {
      this.element.append(html("div", { class: "jpg-soft" }, `computed by run ${status.origin.run}, ${formatMoment(status.origin.created)}`));
    }
  }

  private appendError(status: StepStatus | undefined): void {
    const error = status?.error;
    if (error?.message) {
      const place = error.cell ? `\n  --> cell ${error.cell}${error.line ? `, line ${error.line}` : ""}` : "";
      this.element.append(html("h4", {}, "error"), html("pre", { role: "alert" }, `error[${error.code ?? "?"}]: ${error.message}${place}`));
    }
  }

  private appendList(title: string, lines: string[]): void {
    if (lines.length) {
      this.element.append(html("h4", {}, title), html("ul", {}, ...lines.map((line) => html("li", {}, line))));
    }
  }

  // What the stored result depends on: asked for once for each step and state, and left out where nothing is known.
  private appendDependencies(status: StepStatus | undefined): void {
    const stateOfStep = [this.step, status?.state, status?.key, status?.origin?.run].join("\n");
    if (stateOfStep !== this.dependenciesOf) {
      this.dependenciesOf = stateOfStep;
      const container = html("div", { class: "jpg-dependencies" });
      this.dependencies = container;
      this.source.dependencies?.(this.step).then(
        (lines) => lines.length && container.append(html("h4", {}, "depends on"), html("ul", {}, ...lines.map((line) => html("li", {}, line)))),
        () => undefined,
      );
    }
    this.element.append(this.dependencies);
  }

  private appendOutputs(node: GraphNode): void {
    if (!node.outputs?.length) {
      return;
    }
    this.element.append(html("h4", {}, "makes"));
    for (const output of node.outputs) {
      const name = html("span", { class: "jpg-drag", draggable: "true", title: "drag onto a step to make it an input of that step" }, output.name);
      name.addEventListener("dragstart", (event) => event.dataTransfer?.setData(OUTPUT_TYPE, `${node.id}.${output.name}`));
      // What was opened stays open when the state of the step changes; its result may be another one.
      const container = this.previews.get(output.name) ?? html("div", {});
      this.previews.set(output.name, container);
      if (container.hasChildNodes()) {
        void this.showPreview(node.id, output.name, container);
      }
      const previewButton = button("Look", () => void this.showPreview(node.id, output.name, container), { "aria-label": `Look at ${output.name}` });
      this.element.append(html("div", { class: "jpg-output" }, name, html("span", { class: "jpg-soft" }, output.format ?? output.kind ?? ""), previewButton), container);
    }
  }

  private async showPreview(step: string, output: string, container: HTMLElement): Promise<void> {
    if (!container.hasChildNodes()) {
      container.append(html("span", { class: "jpg-soft" }, "loading …"));
    }
    try {
      container.replaceChildren(previewOf(await this.source.preview(step, output)));
    } catch (error) {
      container.replaceChildren(html("pre", { role: "alert" }, error instanceof Error ? error.message : String(error)));
    }
  }

  private appendLog(status: StepStatus | undefined): void {
    const hasRun = status && status.state !== "reused" && (status.state === "running" || ATTEMPTED.has(status.state));
    if (!status || !(status.notebook || hasRun)) {
      return;
    }
    const container = html("div", {});
    const show = () => {
      this.logOpened = true;
      void this.readLog(container, status.state === "running");
    };
    this.element.append(html("h4", {}, "log"), button("Show the log", show), container);
    if (status.state === "failed" || status.state === "running" || this.logOpened) {
      show();
    }
  }

  // Shows the log of the step. While the step runs, the log is polled, and stays scrolled to its end unless the user has scrolled up.
  private async readLog(container: HTMLElement, running: boolean): Promise<void> {
    try {
      const text = (await this.source.log(this.step)) || "nothing was printed";
      const known = container.querySelector("pre");
      const atEnd = !known || known.scrollTop + known.clientHeight >= known.scrollHeight - 4;
      const pre = known && !known.hasAttribute("role") ? known : html("pre", { tabindex: 0, "aria-label": "log", "data-lm-suppress-shortcuts": "true" });
      if (pre.textContent !== text) {
        pre.textContent = text;
      }
      if (pre !== known) {
        container.replaceChildren(pre);
      }
      if (atEnd) {
        pre.scrollTop = pre.scrollHeight;
      }
    } catch (error) {
      container.replaceChildren(html("pre", { role: "alert" }, error instanceof Error ? error.message : String(error)));
    }
    if (running && this.source.live) {
      window.setTimeout(() => container.isConnected && void this.readLog(container, true), LOG_PAUSE);
    }
  }

  dispose(): void {
    this.element.remove();
  }
}

// A preview of a stored output: type, size, first rows or text.
export function previewOf(preview: OutputPreview): HTMLElement {
  const about = [preview.type, preview.shape?.length ? preview.shape.join(" × ") : "", preview.format, preview.bytes ? formatBytes(preview.bytes) : ""];
  const box = html("div", { class: "jpg-preview" }, html("div", { class: "jpg-soft" }, about.filter((part) => part).join(" · ")));
  if (preview.outdated) {
    box.append(html("div", {}, `out of date: ${preview.outdated}`));
  }
  if (preview.error) {
    box.append(html("pre", { role: "alert" }, preview.error));
  }
  if (preview.image && /^data:image\/(png|jpeg|gif|webp);base64,/.test(preview.image)) {
    box.append(html("img", { src: preview.image, alt: `picture of ${preview.name}` }));
  }
  if (preview.columns?.length) {
    box.append(frameOf(preview));
  } else if (preview.text) {
    box.append(html("pre", { tabindex: 0, "data-lm-suppress-shortcuts": "true" }, preview.text));
  }
  return box;
}

function frameOf(preview: OutputPreview): HTMLElement {
  const columns = preview.columns ?? [];
  const heads = columns.map((column) => html("th", { scope: "col", title: column.dtype }, `${column.name} `, html("span", { class: "jpg-soft" }, column.dtype)));
  const rows = (preview.head ?? []).map((row) => html("tr", {}, ...row.map((cell) => html("td", {}, cell))));
  return html("div", { class: "jpg-scroll", tabindex: 0, role: "region", "aria-label": `first rows of ${preview.name}`, "data-lm-suppress-shortcuts": "true" }, html("table", { class: "jpg-table" }, html("thead", {}, html("tr", {}, ...heads)), html("tbody", {}, ...rows)));
}
