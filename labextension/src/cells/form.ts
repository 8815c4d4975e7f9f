// A form that writes the header of a step: everything that is inferred is offered, and the header is shown as it will be.

import { Dialog, showDialog } from "@jupyterlab/apputils";
import { Widget } from "@lumino/widgets";
import type { Fault } from "../api";
import { FOCUSABLE, html } from "../graph/elements";
import { messageOf } from "../model";
import type { NotebookPipeline } from "../model";

type Options = Record<string, string[] | null>;

interface Suggestion {
  name: string;
  step: boolean;
  options: Record<string, string[]>;
  inferred: Record<string, string[]>;
  steps: string[];
}

interface Written {
  source: string;
  faults: Fault[];
}

const SECTIONS: [string, string, string][] = [
  ["in", "Inputs", "what the step takes: `rows`, or `raw=data/x.csv` for a file"],
  ["out", "Outputs", "what the step makes: `model`, or `chart:file` for a file it writes"],
  ["param", "Parameters", "parameters the step uses"],
];
const MORE: [string, string][] = [
  ["after", "steps to wait for without taking anything from them"],
  ["optional", "inputs that may be missing; they are then None"],
  ["foreach", "run once for each value: depth=2,4,8, a parameter that holds a list, or a folder: part=data/parts/"],
  ["at-once", "how many items may run at once"],
  ["allow-failed", "how many items may fail: 3, 10%"],
  ["retries", "how often to try again after a failure"],
  ["timeout", "stop an attempt after this time: 90, 30s, 2h"],
  ["cpus", "cores the step needs"],
  ["gpus", "GPUs the step needs"],
  ["memory", "memory the step needs: 512M, 8G"],
  ["on", "where the step runs"],
  ["kernel", "the kernel the step runs in"],
];
const FLAGS: [string, string][] = [
  ["no-cache", "never reuse the result"],
  ["always", "run even if what is before it failed"],
];
const PAUSE = 200;

export async function editHeader(model: NotebookPipeline, cell: string): Promise<void> {
  const suggestion = await model.api.edit<Suggestion>(model.path, "suggest", { cells: model.texts(), cell });
  const form = new HeaderForm(model, cell, suggestion);
  const title = suggestion.step ? `Step ${suggestion.name}` : "Mark this cell as a step";
  const answer = await showDialog({ title, body: form, focusNodeSelector: "input", buttons: [Dialog.cancelButton(), Dialog.okButton({ label: "Write header" })] });
  if (answer.button.accept && answer.value) {
    const { source } = await write(model, cell, answer.value.name, answer.value.options);
    setSource(model, cell, source);
    await model.show(model.indexOfCell(cell));
  }
}

export async function removeHeader(model: NotebookPipeline, cell: string): Promise<void> {
  const { source } = await write(model, cell, "", {});
  setSource(model, cell, source);
}

function write(model: NotebookPipeline, cell: string, name: string, options: Options): Promise<Written> {
  return model.api.edit<Written>(model.path, "header", { cells: model.texts(), cell, name: name || null, options });
}

// One change of one cell: its own undo takes it back.
function setSource(model: NotebookPipeline, cell: string, source: string): void {
  const shared = model.panel.content.model?.sharedModel.cells.find((one) => one.getId() === cell);
  shared?.setSource(source);
}

class HeaderForm extends Widget {
  private readonly name: HTMLInputElement;
  private readonly fields = new Map<string, { on: HTMLInputElement; text: HTMLInputElement }>();
  private readonly more = new Map<string, HTMLInputElement>();
  private readonly flags = new Map<string, HTMLInputElement>();
  private readonly shown = html("pre", { class: "jpc-preview", role: "region", "aria-label": "the header as it will be" });
  private readonly wrong = html("div", { class: "jpc-wrong", role: "status" });
  private timer = 0;

  constructor(
    private readonly model: NotebookPipeline,
    private readonly cell: string,
    suggestion: Suggestion,
  ) {
    super();
    this.addClass("jpc-form");
    this.name = html("input", { class: "jp-mod-styled", type: "text", value: suggestion.name, "aria-label": "Name", autocomplete: "off", ...FOCUSABLE });
    this.node.append(html("label", { class: "jpc-field" }, html("span", {}, "Name"), this.name));
    SECTIONS.forEach(([key, label, help]) => this.node.append(this.section(key, label, help, suggestion)));
    const rest = html("details", {}, html("summary", { ...FOCUSABLE }, "More options"));
    rest.open = [...MORE, ...FLAGS].some(([key]) => key in suggestion.options);
    MORE.forEach(([key, help]) => rest.append(this.option(key, help, suggestion)));
    FLAGS.forEach(([key, help]) => rest.append(this.flag(key, help, suggestion)));
    this.node.append(rest, this.shown, this.wrong);
    this.node.addEventListener("input", () => this.later());
    this.later();
  }

  private section(key: string, label: string, help: string, suggestion: Suggestion): HTMLElement {
    const declared = suggestion.options[key];
    const inferred = suggestion.inferred[key] ?? [];
    const on = html("input", { type: "checkbox", "aria-label": `write down ${label.toLowerCase()}`, ...FOCUSABLE });
    const text = html("input", { class: "jp-mod-styled", type: "text", value: spelled(declared ?? inferred), placeholder: inferred.length ? spelled(inferred) : "none found", "aria-label": label, autocomplete: "off", ...FOCUSABLE });
    on.checked = declared !== undefined;
    text.disabled = !on.checked;
    on.addEventListener("change", () => (text.disabled = !on.checked));
    this.fields.set(key, { on, text });
    const note = on.checked ? help : `inferred: ${inferred.length ? inferred.join(", ") : "nothing"} · ${help}`;
    return html("div", { class: "jpc-field" }, html("label", {}, on, ` ${label}`), text, html("small", {}, note));
  }

  private option(key: string, help: string, suggestion: Suggestion): HTMLElement {
    const text = html("input", { class: "jp-mod-styled", type: "text", value: spelled(suggestion.options[key] ?? []), "aria-label": key, autocomplete: "off", ...FOCUSABLE });
    this.more.set(key, text);
    return html("div", { class: "jpc-field" }, html("label", {}, key), text, html("small", {}, help));
  }

  private flag(key: string, help: string, suggestion: Suggestion): HTMLElement {
    const on = html("input", { type: "checkbox", ...FOCUSABLE });
    on.checked = key in suggestion.options;
    this.flags.set(key, on);
    return html("label", { class: "jpc-flag" }, on, ` ${key}: ${help}`);
  }

  getValue(): { name: string; options: Options } {
    const options: Options = {};
    for (const [key, { on, text }] of this.fields) {
      options[key] = on.checked ? words(text.value) : null;
    }
    for (const [key, text] of this.more) {
      options[key] = text.value.trim() ? words(text.value) : null;
    }
    for (const [key, on] of this.flags) {
      options[key] = on.checked ? [] : null;
    }
    return { name: this.name.value.trim(), options };
  }

  private later(): void {
    window.clearTimeout(this.timer);
    this.timer = window.setTimeout(() => void this.preview(), PAUSE);
  }

  private async preview(): Promise<void> {
    const { name, options } = this.getValue();
    if (!name) {
      this.wrong.textContent = "A step needs a name.";
      return;
    }
    try {
      const { source, faults } = await write(this.model, this.cell, name, options);
      this.shown.textContent = source.split("\n").slice(0, 4).join("\n");
      this.wrong.textContent = faults.map((one) => `${one.code}: ${one.message}; ${one.suggestion ?? ""}`).join("\n");
    } catch (error) {
      this.wrong.textContent = messageOf(error);
    }
  }

  override dispose(): void {
    window.clearTimeout(this.timer);
    super.dispose();
  }
}

// Words as a person separates them: spaces and commas, but not within quotes.
export function words(text: string): string[] {
  return (text.match(/(?:[^\s,"']+|"[^"]*"|'[^']*')+/g) ?? []).map((one) => one.replace(/"([^"]*)"|'([^']*)'/g, "$1$2"));
}

function spelled(items: string[]): string {
  return items.map((one) => (/[\s,]/.test(one) ? one.replace(/^(\w+=)?(.*)$/, "$1'$2'") : one)).join(" ");
}
