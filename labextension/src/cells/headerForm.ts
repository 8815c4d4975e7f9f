// A form that edits the header of a step: it offers the inferred interface, and previews the header.

import { Dialog, showDialog } from "@jupyterlab/apputils";
import { Widget } from "@lumino/widgets";
import type { PipelineDiagnostic } from "../api";
import { FOCUSABLE, html } from "../graph/dom";
import { messageOf } from "../notebookPipeline";
import type { NotebookPipeline } from "../notebookPipeline";
import { FLAGS, MORE, SECTIONS } from "./headerOptions";

type HeaderOptions = Record<string, string[] | null>;

interface HeaderSuggestion {
  name: string;
  step: boolean;
  options: Record<string, string[]>;
  inferred: Record<string, string[]>;
  steps: string[];
}

interface HeaderEdit {
  source: string;
  faults: PipelineDiagnostic[];
}

const PAUSE = 200;

export async function editHeader(model: NotebookPipeline, cell: string): Promise<void> {
  const suggestion = await model.api.post<HeaderSuggestion>(model.path, "suggest", { cells: model.cellTexts(), cell });
  const form = new HeaderForm(model, cell, suggestion);
  const title = suggestion.step ? `Step ${suggestion.name}` : "Mark this cell as a step";
  const answer = await showDialog({ title, body: form, focusNodeSelector: "input", buttons: [Dialog.cancelButton(), Dialog.okButton({ label: "Write header" })] });
  if (answer.button.accept && answer.value) {
    const { source } = await requestHeader(model, cell, answer.value.name, answer.value.options);
    setSource(model, cell, source);
    await model.show(model.indexOfCell(cell));
  }
}

export async function removeHeader(model: NotebookPipeline, cell: string): Promise<void> {
  const { source } = await requestHeader(model, cell, "", {});
  setSource(model, cell, source);
}

function requestHeader(model: NotebookPipeline, cell: string, name: string, options: HeaderOptions): Promise<HeaderEdit> {
  return model.api.post<HeaderEdit>(model.path, "header", { cells: model.cellTexts(), cell, name: name || null, options });
}

// A single change of a single cell, which the cell's own undo reverts.
function setSource(model: NotebookPipeline, cell: string, source: string): void {
  const shared = model.panel.content.model?.sharedModel.cells.find((sharedCell) => sharedCell.getId() === cell);
  shared?.setSource(source);
}

class HeaderForm extends Widget {
  private readonly name: HTMLInputElement;
  private readonly fields = new Map<string, { on: HTMLInputElement; text: HTMLInputElement }>();
  private readonly optionFields = new Map<string, HTMLInputElement>();
  private readonly flags = new Map<string, HTMLInputElement>();
  private readonly headerPreview = html("pre", { class: "jpc-preview", role: "region", "aria-label": "the header as it will be" });
  private readonly problemText = html("div", { class: "jpc-wrong", role: "status" });
  private timer = 0;

  constructor(
    private readonly model: NotebookPipeline,
    private readonly cell: string,
    suggestion: HeaderSuggestion,
  ) {
    super();
    this.addClass("jpc-form");
    this.name = html("input", { class: "jp-mod-styled", type: "text", value: suggestion.name, "aria-label": "Name", autocomplete: "off", ...FOCUSABLE });
    this.node.append(html("label", { class: "jpc-field" }, html("span", {}, "Name"), this.name));
    SECTIONS.forEach(({ name, label, help }) => this.node.append(this.section(name, label, help, suggestion)));
    const rest = html("details", {}, html("summary", { ...FOCUSABLE }, "More options"));
    rest.open = [...MORE, ...FLAGS].some(({ name }) => name in suggestion.options);
    MORE.forEach(({ name, help }) => rest.append(this.option(name, help, suggestion)));
    FLAGS.forEach(({ name, help }) => rest.append(this.flag(name, help, suggestion)));
    this.node.append(rest, this.headerPreview, this.problemText);
    this.node.addEventListener("input", () => this.schedulePreview());
    this.schedulePreview();
  }

  private section(key: string, label: string, help: string, suggestion: HeaderSuggestion): HTMLElement {
    const declared = suggestion.options[key];
    const inferred = suggestion.inferred[key] ?? [];
    const on = html("input", { type: "checkbox", "aria-label": `write down ${label.toLowerCase()}`, ...FOCUSABLE });
    const text = html("input", { class: "jp-mod-styled", type: "text", value: joinWords(declared ?? inferred), placeholder: inferred.length ? joinWords(inferred) : "none found", "aria-label": label, autocomplete: "off", ...FOCUSABLE });
    on.checked = declared !== undefined;
    text.disabled = !on.checked;
    on.addEventListener("change", () => (text.disabled = !on.checked));
    this.fields.set(key, { on, text });
    const note = on.checked ? help : `inferred: ${inferred.length ? inferred.join(", ") : "nothing"} · ${help}`;
    return html("div", { class: "jpc-field" }, html("label", {}, on, ` ${label}`), text, html("small", {}, note));
  }

  private option(key: string, help: string, suggestion: HeaderSuggestion): HTMLElement {
    const text = html("input", { class: "jp-mod-styled", type: "text", value: joinWords(suggestion.options[key] ?? []), "aria-label": key, autocomplete: "off", ...FOCUSABLE });
    this.optionFields.set(key, text);
    return html("div", { class: "jpc-field" }, html("label", {}, key), text, html("small", {}, help));
  }

  private flag(key: string, help: string, suggestion: HeaderSuggestion): HTMLElement {
    const on = html("input", { type: "checkbox", ...FOCUSABLE });
    on.checked = key in suggestion.options;
    this.flags.set(key, on);
    return html("label", { class: "jpc-flag" }, on, ` ${key}: ${help}`);
  }

  getValue(): { name: string; options: HeaderOptions } {
    const options: HeaderOptions = {};
    for (const [key, { on, text }] of this.fields) {
      options[key] = on.checked ? splitWords(text.value) : null;
    }
    for (const [key, text] of this.optionFields) {
      options[key] = text.value.trim() ? splitWords(text.value) : null;
    }
    for (const [key, on] of this.flags) {
      options[key] = on.checked ? [] : null;
    }
    return { name: this.name.value.trim(), options };
  }

  private schedulePreview(): void {
    window.clearTimeout(this.timer);
    this.timer = window.setTimeout(() => void this.updatePreview(), PAUSE);
  }

  private async updatePreview(): Promise<void> {
    const { name, options } = this.getValue();
    if (!name) {
      this.problemText.textContent = "A step needs a name.";
      return;
    }
    try {
      const { source, faults } = await requestHeader(this.model, this.cell, name, options);
      this.headerPreview.textContent = source.split("\n").slice(0, 4).join("\n");
      this.problemText.textContent = faults.map((fault) => `${fault.code}: ${fault.message}; ${fault.suggestion ?? ""}`).join("\n");
    } catch (error) {
      this.problemText.textContent = messageOf(error);
    }
  }

  override dispose(): void {
    window.clearTimeout(this.timer);
    super.dispose();
  }
}

// Splits at spaces and commas, but not within quotes; a quote without its other half is a character like any other.
export function splitWords(text: string): string[] {
  const words = text.match(/(?:[^\s,"']+|"[^"]*"|'[^']*'|["'])+/g) ?? [];
  return words.map((word) => word.replace(/"([^"]*)"|'([^']*)'/g, "$1$2"));
}

// Writes words so that splitWords reads the same; of name=value, only the value gets quotes.
export function joinWords(values: string[]): string {
  return values.map((value) => (/^$|[\s,"']/.test(value) ? value.replace(/^([^\s,"'=]+=)?([^]*)$/, (_, name: string | undefined, rest: string) => (name ?? "") + inQuotes(rest)) : value)).join(" ");
}

function inQuotes(text: string): string {
  const quote = text.includes("'") ? '"' : "'";
  return text.includes(quote) ? `'${text.replaceAll("'", `'"'"'`)}'` : quote + text + quote;
}
