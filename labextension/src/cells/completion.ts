// Completion and help inside of headers and `%pipeline` lines. Code is left to the kernel.

import type { EditorView, Tooltip } from "@codemirror/view";
import { hoverTooltip } from "@codemirror/view";
import { EditorExtensionRegistry } from "@jupyterlab/codemirror";
import type { IEditorExtensionRegistry } from "@jupyterlab/codemirror";
import type { CompletionHandler, ICompletionContext, ICompletionProvider } from "@jupyterlab/completer";
import { NotebookPanel } from "@jupyterlab/notebook";
import type { CompletionItem } from "../api";
import { html } from "../graph/dom";
import type { NotebookPipeline } from "../notebookPipeline";
import type { PipelineRegistry } from "../panel/panelPlugin";

interface CompletionResponse {
  start: number;
  end: number;
  matches: CompletionItem[];
}

interface HoverResponse {
  text: string | null;
  from: number;
  to: number;
}

// Whether a line belongs to a header: its first line or a continuation.
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

  constructor(private readonly pipelines: PipelineRegistry) {}

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
    const model = this.pipelines.modelOf(panel);
    const response = await model.api.post<CompletionResponse>(model.path, "complete", { cells: model.cellTexts(), cell, line: caret.line, column: caret.column }).catch(() => null);
    if (!response) {
      return none; // the kernel's completions are used
    }
    const items = response.matches.map((completionItem) => ({ label: completionItem.text, insertText: completionItem.text, type: completionItem.kind, documentation: completionItem.help }));
    return { start: caret.start + response.start, end: caret.start + response.end, items };
  }
}

// Help on the word under the pointer.
export function addHover(extensions: IEditorExtensionRegistry, pipelines: PipelineRegistry): void {
  extensions.addExtension(
    Object.freeze({
      name: "jupyter-pipelines:hover",
      factory: (options: { model: { sharedModel: unknown } }) => {
        const shared = options.model.sharedModel as { getId?: () => string };
        const id = shared.getId?.();
        return id ? EditorExtensionRegistry.createImmutableExtension(hoverTooltip((view, at) => tooltipAt(pipelines, id, view, at))) : null;
      },
    }),
  );
}

async function tooltipAt(pipelines: PipelineRegistry, cell: string, view: EditorView, offset: number): Promise<Tooltip | null> {
  const text = view.state.doc.toString();
  const caret = caretOf(text, offset);
  const model = pipelines.all.find((candidate: NotebookPipeline) => candidate.indexOfCell(cell) >= 0);
  if (!model || !isHeader(text.split("\n"), caret.line)) {
    return null;
  }
  const hover = await model.api.post<HoverResponse>(model.path, "hover", { cells: model.cellTexts(), cell, line: caret.line, column: caret.column }).catch(() => null);
  if (!hover?.text) {
    return null;
  }
  const helpText = hover.text;
  return { pos: caret.start + hover.from, end: caret.start + hover.to, above: true, create: () => ({ dom: html("div", { class: "jpc-hover" }, helpText) }) };
}
