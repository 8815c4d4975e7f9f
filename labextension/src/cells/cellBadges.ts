// Badges above cells: the status of a step, and the problems of a cell.

import type { Cell } from "@jupyterlab/cells";
import { FOCUSABLE, html, icon } from "../graph/dom";
import { addGraphStyle, followTheme, stateClass } from "../graph/graphStyle";
import type { StepStatus } from "../graph/documents";
import { stepDetail, styleOf, stepTime } from "../graph/format";
import type { PipelineDiagnostic } from "../api";
import type { NotebookPipeline } from "../notebookPipeline";

const CROSS = "M4 4l8 8M12 4l-8 8";
const MARK = "M8 2.8l5.8 10.4H2.2zM8 6.8v2.8M8 11.6v.1";

interface BadgeEntry {
  element: HTMLElement;
  signature: string;
  stopThemeSync: () => void;
}

export class CellBadges {
  private readonly entries = new Map<Cell, BadgeEntry>();
  private readonly awaitedCells = new WeakSet<Cell>();
  private frame = 0;

  constructor(
    private readonly model: NotebookPipeline,
    private readonly onChoose: (step: string, anchor: HTMLElement) => void,
    private readonly isEnabled: () => boolean,
  ) {
    model.changed.connect(this.paint, this);
    model.panel.content.modelContentChanged.connect(this.paint, this);
    model.panel.disposed.connect(this.dispose, this);
  }

  paint(): void {
    const cells = this.model.panel.content.widgets;
    for (const known of [...this.entries.keys()]) {
      if (known.isDisposed || !cells.includes(known)) {
        this.remove(known);
      }
    }
    if (this.model.graph) {
      addGraphStyle(document, this.model.graph.looks);
    }
    const statuses = this.model.statuses;
    cells.forEach((cell, index) => {
      const about = this.isEnabled() ? this.model.cells[cell.model.id] : undefined;
      const faults = this.isEnabled() ? this.model.faults.filter((fault) => fault.cell === index + 1) : [];
      const step = about?.kind === "step" ? about.step : null;
      this.show(cell, step, step ? statuses.steps[step] : undefined, faults);
    });
  }

  // Cells become ready one after the other: they are painted together in the next frame.
  private paintSoon(): void {
    if (!this.frame) {
      this.frame = requestAnimationFrame(() => {
        this.frame = 0;
        this.paint();
      });
    }
  }

  private show(cell: Cell, step: string | null, status: StepStatus | undefined, faults: PipelineDiagnostic[]): void {
    if (!step && !faults.length) {
      this.remove(cell);
      return;
    }
    // Elapsed seconds do not count: a badge is not rebuilt because of them.
    const signature = JSON.stringify([step, { ...status, seconds: status?.state === "running" ? 0 : status?.seconds, text: "" }, faults]);
    const known = this.entries.get(cell);
    if (known?.signature === signature && known.element.isConnected) {
      return;
    }
    const attach = () => {
      const head = cell.node.querySelector<HTMLElement>(".jp-CellHeader");
      if (!head || cell.isDisposed) {
        return;
      }
      const entry = this.entries.get(cell) ?? this.createEntry(cell);
      entry.signature = signature;
      entry.element.replaceChildren(...this.parts(step, status, faults));
      if (entry.element.parentElement !== head) {
        head.append(entry.element);
      }
    };
    if (!cell.isPlaceholder()) {
      attach();
    } else if (!this.awaitedCells.has(cell)) {
      // Once per cell: each paint would wait again for all cells that are not ready yet.
      this.awaitedCells.add(cell);
      void cell.ready.then(() => this.paintSoon());
    }
  }

  private createEntry(cell: Cell): BadgeEntry {
    const element = html("div", { class: "jpg jpc-badges" });
    const entry = { element, signature: "", stopThemeSync: followTheme(element) };
    this.entries.set(cell, entry);
    return entry;
  }

  private parts(step: string | null, status: StepStatus | undefined, faults: PipelineDiagnostic[]): HTMLElement[] {
    const parts: HTMLElement[] = [];
    if (step) {
      const style = styleOf(this.model.graph?.looks ?? {}, status?.state ?? "never run");
      const about = [step, style.word, stepDetail(status), stepTime(status, Date.now())].filter((part) => part).join(", ");
      const title = [about, ...(status?.reason?.details ?? [])].join("\n");
      const badge = html("button", { type: "button", class: `jpg-badge jpc-badge ${stateClass(status?.state ?? "never run")}`, "data-step": step, "data-state": status?.state ?? "", title, "aria-label": `step ${about}`, "aria-haspopup": "menu", ...FOCUSABLE });
      badge.append(icon(style.icon, 12), `${step}: ${style.word}`);
      badge.addEventListener("click", () => this.onChoose(step, badge));
      parts.push(badge, html("span", { class: "jpg-detail" }, [stepDetail(status), stepTime(status, Date.now())].filter((part) => part && part !== style.word).join(" · ")));
    }
    for (const fault of faults.slice(0, 3)) {
      const mark = html("span", { class: `jpc-fault jpp-${fault.severity}`, title: fault.suggestion ?? "", role: "note" });
      mark.append(icon(fault.severity === "error" ? CROSS : MARK, 12), ` ${fault.code}: ${fault.message}`);
      parts.push(mark);
    }
    return parts;
  }

  private remove(cell: Cell): void {
    const entry = this.entries.get(cell);
    if (entry) {
      entry.stopThemeSync();
      entry.element.remove();
      this.entries.delete(cell);
    }
  }

  dispose(): void {
    cancelAnimationFrame(this.frame);
    this.model.changed.disconnect(this.paint, this);
    [...this.entries.keys()].forEach((cell) => this.remove(cell));
  }
}
