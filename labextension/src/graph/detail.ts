// What there is to know of one step: why, what goes in and out with a look at it, what it printed, what went wrong.

import { button, empty, html, icon } from "./elements";
import { stateClass } from "./style";
import type { Graph, GraphNode, Preview, Source, StepStatus } from "./types";
import { bytes, detailOf, lookOf, reasonsOf, timeOf, whenOf } from "./words";

const LOG_PAUSE = 1000;
export const OUTPUT_TYPE = "application/x-jupyter-pipelines-output";

export class DetailView {
  readonly element: HTMLElement;
  private step = "";
  private shown = "";

  constructor(
    host: HTMLElement,
    private readonly source: Source,
  ) {
    this.element = html("section", { class: "jpg-detailpane", "aria-label": "details of the step", hidden: true, tabindex: 0, "data-lm-suppress-shortcuts": "true" });
    host.append(this.element);
  }

  show(graph: Graph, id: string, status: StepStatus | undefined): void {
    const node = graph.nodes.find((one) => one.id === id && one.kind === "step");
    this.element.hidden = !node;
    const signature = JSON.stringify([id, { ...status, text: "", seconds: 0 }]);
    if (!node || signature === this.shown) {
      return;
    }
    this.shown = signature;
    this.step = id;
    empty(this.element);
    this.element.append(this.heading(graph, node, status), this.actions(node, status));
    this.why(status);
    this.failure(status);
    this.list("takes", (node.inputs ?? []).map((one) => `${one.name} from ${one.from ?? "?"}${one.optional ? " (optional)" : ""}`));
    this.outputs(node);
    this.list("parameters", node.parameters ?? []);
    this.list("asks for", Object.entries(node.resources ?? {}).map(([name, value]) => (value === true ? name : `${name}: ${String(value)}`)));
    this.log(status);
  }

  private heading(graph: Graph, node: GraphNode, status: StepStatus | undefined): HTMLElement {
    const head = html("h3", {}, node.name);
    if (status) {
      const look = lookOf(graph.looks, status.state);
      const badge = html("span", { class: `jpg-badge ${stateClass(status.state)}` });
      badge.append(icon(look.icon, 12), look.word);
      head.append(badge, html("span", { class: "jpg-soft" }, timeOf(status, Date.now())));
    }
    return head;
  }

  private actions(node: GraphNode, status: StepStatus | undefined): HTMLElement {
    const row = html("div", { class: "jpg-actions" });
    const { source } = this;
    const cells = (node.cells ?? []).map((one) => one.number).join(", ");
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

  private why(status: StepStatus | undefined): void {
    const reasons = status ? reasonsOf(status) : [];
    for (const { text, details } of reasons.length ? reasons : [{ text: detailOf(status), details: status?.notes ?? [] }]) {
      if (text) {
        this.element.append(html("div", { class: "jpg-why" }, text), html("ul", {}, ...details.map((one) => html("li", {}, one))));
      }
    }
    if (status?.origin) {
      this.element.append(html("div", { class: "jpg-soft" }, `computed by run ${status.origin.run}, ${whenOf(status.origin.created)}`));
    }
  }

  private failure(status: StepStatus | undefined): void {
    const error = status?.error;
    if (error?.message) {
      const place = error.cell ? `\n  --> cell ${error.cell}${error.line ? `, line ${error.line}` : ""}` : "";
      this.element.append(html("h4", {}, "error"), html("pre", { role: "alert" }, `error[${error.code ?? "?"}]: ${error.message}${place}`));
    }
  }

  private list(title: string, lines: string[]): void {
    if (lines.length) {
      this.element.append(html("h4", {}, title), html("ul", {}, ...lines.map((one) => html("li", {}, one))));
    }
  }

  private outputs(node: GraphNode): void {
    if (!node.outputs?.length) {
      return;
    }
    this.element.append(html("h4", {}, "makes"));
    for (const output of node.outputs) {
      const name = html("span", { class: "jpg-drag", draggable: "true", title: "drag onto a step to make it an input of that step" }, output.name);
      name.addEventListener("dragstart", (event) => event.dataTransfer?.setData(OUTPUT_TYPE, `${node.id}.${output.name}`));
      const room = html("div", {});
      const look = button("Look", () => void this.look(node.id, output.name, room), { "aria-label": `Look at ${output.name}` });
      this.element.append(html("div", { class: "jpg-output" }, name, html("span", { class: "jpg-soft" }, output.format ?? output.kind ?? ""), look), room);
    }
  }

  private async look(step: string, output: string, room: HTMLElement): Promise<void> {
    room.replaceChildren(html("span", { class: "jpg-soft" }, "loading …"));
    try {
      room.replaceChildren(previewOf(await this.source.preview(step, output)));
    } catch (error) {
      room.replaceChildren(html("pre", { role: "alert" }, error instanceof Error ? error.message : String(error)));
    }
  }

  private log(status: StepStatus | undefined): void {
    if (!status || !(status.notebook || ["running", "failed", "succeeded", "cancelled", "lost"].includes(status.state))) {
      return;
    }
    const room = html("div", {});
    const show = () => void this.readLog(room, status.state === "running");
    this.element.append(html("h4", {}, "log"), button("Show the log", show), room);
    if (status.state === "failed" || status.state === "running") {
      show();
    }
  }

  // What the step printed; while it runs, again and again, at the end of it unless one reads further up.
  private async readLog(room: HTMLElement, running: boolean): Promise<void> {
    try {
      const text = (await this.source.log(this.step)) || "nothing was printed";
      const known = room.querySelector("pre");
      const atEnd = !known || known.scrollTop + known.clientHeight >= known.scrollHeight - 4;
      const pre = known && !known.hasAttribute("role") ? known : html("pre", { tabindex: 0, "aria-label": "log", "data-lm-suppress-shortcuts": "true" });
      if (pre.textContent !== text) {
        pre.textContent = text;
      }
      if (pre !== known) {
        room.replaceChildren(pre);
      }
      if (atEnd) {
        pre.scrollTop = pre.scrollHeight;
      }
    } catch (error) {
      room.replaceChildren(html("pre", { role: "alert" }, error instanceof Error ? error.message : String(error)));
    }
    if (running && this.source.live) {
      window.setTimeout(() => room.isConnected && void this.readLog(room, true), LOG_PAUSE);
    }
  }

  dispose(): void {
    this.element.remove();
  }
}

// A value as far as one wants to see it: what it is, how large, its beginning.
export function previewOf(preview: Preview): HTMLElement {
  const about = [preview.type, preview.shape?.length ? preview.shape.join(" × ") : "", preview.format, preview.bytes ? bytes(preview.bytes) : ""];
  const box = html("div", { class: "jpg-preview" }, html("div", { class: "jpg-soft" }, about.filter((one) => one).join(" · ")));
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

function frameOf(preview: Preview): HTMLElement {
  const columns = preview.columns ?? [];
  const heads = columns.map((one) => html("th", { scope: "col", title: one.dtype }, `${one.name} `, html("span", { class: "jpg-soft" }, one.dtype)));
  const rows = (preview.head ?? []).map((row) => html("tr", {}, ...row.map((cell) => html("td", {}, cell))));
  return html("div", { class: "jpg-scroll", tabindex: 0, role: "region", "aria-label": `first rows of ${preview.name}`, "data-lm-suppress-shortcuts": "true" }, html("table", { class: "jpg-table" }, html("thead", {}, html("tr", {}, ...heads)), html("tbody", {}, ...rows)));
}
