// Completion and help inside of headers and `%pipeline` lines. Code is left to the kernel.

import type { EditorView, Tooltip } from "@codemirror/view";
import { hoverTooltip } from "@codemirror/view";
import { EditorExtensionRegistry } from "@jupyterlab/codemirror";
import type { IEditorExtensionRegistry } from "@jupyterlab/codemirror";
import type { CompletionHandler, ICompletionContext, ICompletionProvider } from "@jupyterlab/completer";
import { NotebookPanel } from "@jupyterlab/notebook";
import type { Match } from "../api";
import { html } from "../graph/elements";
import type { NotebookPipeline } from "../model";
import type { Pipelines } from "../panel/plugin";

interface Completed {
  start: number;
  end: number;
  matches: Match[];
}

interface Hovered {
  text: string | null;
  from: number;
  to: number;
}

// Whether a line belongs to a header: begins one, or goes on with one.
export function isHeader(lines: string[], line: number): boolean {
  const text = lines[line] ?? "";
  if (/^\s*(#\||%pipeline\b|%%\w*$)/.test(text)) {
    return true;
  }
  let first = line;
  while (first > 0 && lines[first - 1].trimEnd().endsWith("\\")) {
    first -= 1;
  }
  return /^\s*%%step\b/.test(lines[first] ?? "");
}

function caretOf(text: string, offset: number): { line: number; column: number; start: number } {
  const before = text.slice(0, offset).split("\n");
  const column = before[before.length - 1].length;
  return { line: before.length - 1, column, start: offset - column };
}

export class HeaderCompletion implements ICompletionProvider {
  readonly identifier = "jupyter-pipelines:headers";
  readonly rank = 1100;
  readonly renderer = null;

  constructor(private readonly pipelines: Pipelines) {}

  isApplicable(context: ICompletionContext): Promise<boolean> {
    return Promise.resolve(context.widget instanceof NotebookPanel);
  }

  async fetch(request: CompletionHandler.IRequest, context: ICompletionContext): Promise<CompletionHandler.ICompletionItemsReply> {
    const none = { start: request.offset, end: request.offset, items: [] };
    const caret = caretOf(request.text, request.offset);
    const panel = context.widget;
    const cell = panel instanceof NotebookPanel ? panel.content.activeCell?.model.id : undefined;
    if (!(panel instanceof NotebookPanel) || !cell || !isHeader(request.text.split("\n"), caret.line)) {
      return none;
    }
    const model = this.pipelines.of(panel);
    const found = await model.api.edit<Completed>(model.path, "complete", { cells: model.texts(), cell, line: caret.line, column: caret.column }).catch(() => null);
    if (!found) {
      return none; // the kernel may know something
    }
    const items = found.matches.map((one) => ({ label: one.text, insertText: one.text, type: one.kind, documentation: one.help }));
    return { start: caret.start + found.start, end: caret.start + found.end, items };
  }
}

// Help on the word under the pointer.
export function addHover(extensions: IEditorExtensionRegistry, pipelines: Pipelines): void {
  extensions.addExtension(
    Object.freeze({
      name: "jupyter-pipelines:hover",
      factory: (options: { model: { sharedModel: unknown } }) => {
        const shared = options.model.sharedModel as { getId?: () => string };
        const id = shared.getId?.();
        return id ? EditorExtensionRegistry.createImmutableExtension(hoverTooltip((view, at) => hovered(pipelines, id, view, at))) : null;
      },
    }),
  );
}

async function hovered(pipelines: Pipelines, cell: string, view: EditorView, at: number): Promise<Tooltip | null> {
  const text = view.state.doc.toString();
  const caret = caretOf(text, at);
  const model = pipelines.all.find((one: NotebookPipeline) => one.indexOfCell(cell) >= 0);
  if (!model || !isHeader(text.split("\n"), caret.line)) {
    return null;
  }
  const found = await model.api.edit<Hovered>(model.path, "hover", { cells: model.texts(), cell, line: caret.line, column: caret.column }).catch(() => null);
  if (!found?.text) {
    return null;
  }
  const said = found.text;
  return { pos: caret.start + found.from, end: caret.start + found.to, above: true, create: () => ({ dom: html("div", { class: "jpc-hover" }, said) }) };
}
