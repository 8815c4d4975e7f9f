// Above each cell of a step: what is known of it. Above each cell with a problem: what is wrong.

import type { Cell } from "@jupyterlab/cells";
import { FOCUSABLE, html, icon } from "../graph/elements";
import { addStyle, followTheme, stateClass } from "../graph/style";
import type { StepStatus } from "../graph/types";
import { detailOf, lookOf, timeOf } from "../graph/words";
import type { Fault } from "../api";
import type { NotebookPipeline } from "../model";

const CROSS = "M4 4l8 8M12 4l-8 8";
const MARK = "M8 2.8l5.8 10.4H2.2zM8 6.8v2.8M8 11.6v.1";

interface Shown {
  element: HTMLElement;
  signature: string;
  end: () => void;
}

export class Badges {
  private readonly shown = new Map<Cell, Shown>();
  private readonly awaited = new WeakSet<Cell>();
  private frame = 0;

  constructor(
    private readonly model: NotebookPipeline,
    private readonly chosen: (step: string, at: HTMLElement) => void,
    private readonly wanted: () => boolean,
  ) {
    model.changed.connect(this.paint, this);
    model.panel.content.modelContentChanged.connect(this.paint, this);
    model.panel.disposed.connect(this.dispose, this);
  }

  paint(): void {
    const cells = this.model.panel.content.widgets;
    for (const known of [...this.shown.keys()]) {
      if (known.isDisposed || !cells.includes(known)) {
        this.remove(known);
      }
    }
    if (this.model.graph) {
      addStyle(document, this.model.graph.looks);
    }
    const statuses = this.model.statuses;
    cells.forEach((cell, index) => {
      const about = this.wanted() ? this.model.cells[cell.model.id] : undefined;
      const faults = this.wanted() ? this.model.faults.filter((one) => one.cell === index + 1) : [];
      const step = about?.kind === "step" ? about.step : null;
      this.show(cell, step, step ? statuses.steps[step] : undefined, faults);
    });
  }

  // Many cells are built one after the other: they are looked at together.
  private soon(): void {
    if (!this.frame) {
      this.frame = requestAnimationFrame(() => {
        this.frame = 0;
        this.paint();
      });
    }
  }

  private show(cell: Cell, step: string | null, status: StepStatus | undefined, faults: Fault[]): void {
    if (!step && !faults.length) {
      this.remove(cell);
      return;
    }
    // Seconds go by while a step runs: they are no reason to make the badge anew.
    const signature = JSON.stringify([step, { ...status, seconds: status?.state === "running" ? 0 : status?.seconds, text: "" }, faults]);
    const known = this.shown.get(cell);
    if (known?.signature === signature && known.element.isConnected) {
      return;
    }
    const place = () => {
      const head = cell.node.querySelector<HTMLElement>(".jp-CellHeader");
      if (!head || cell.isDisposed) {
        return;
      }
      const entry = this.shown.get(cell) ?? this.fresh(cell);
      entry.signature = signature;
      entry.element.replaceChildren(...this.parts(step, status, faults));
      if (entry.element.parentElement !== head) {
        head.append(entry.element);
      }
    };
    if (!cell.isPlaceholder()) {
      place();
    } else if (!this.awaited.has(cell)) {
      // Once for each cell: every paint would wait again for all that are not built yet.
      this.awaited.add(cell);
      void cell.ready.then(() => this.soon());
    }
  }

  private fresh(cell: Cell): Shown {
    const element = html("div", { class: "jpg jpc-badges" });
    const entry = { element, signature: "", end: followTheme(element) };
    this.shown.set(cell, entry);
    return entry;
  }

  private parts(step: string | null, status: StepStatus | undefined, faults: Fault[]): HTMLElement[] {
    const parts: HTMLElement[] = [];
    if (step) {
      const look = lookOf(this.model.graph?.looks ?? {}, status?.state ?? "never run");
      const about = [step, look.word, detailOf(status), timeOf(status, Date.now())].filter((one) => one).join(", ");
      const title = [about, ...(status?.reason?.details ?? [])].join("\n");
      const badge = html("button", { type: "button", class: `jpg-badge jpc-badge ${stateClass(status?.state ?? "never run")}`, "data-step": step, "data-state": status?.state ?? "", title, "aria-label": `step ${about}`, "aria-haspopup": "menu", ...FOCUSABLE });
      badge.append(icon(look.icon, 12), `${step}: ${look.word}`);
      badge.addEventListener("click", () => this.chosen(step, badge));
      parts.push(badge, html("span", { class: "jpg-detail" }, [detailOf(status), timeOf(status, Date.now())].filter((one) => one && one !== look.word).join(" · ")));
    }
    for (const fault of faults.slice(0, 3)) {
      const mark = html("span", { class: `jpc-fault jpp-${fault.severity}`, title: fault.suggestion ?? "", role: "note" });
      mark.append(icon(fault.severity === "error" ? CROSS : MARK, 12), ` ${fault.code}: ${fault.message}`);
      parts.push(mark);
    }
    return parts;
  }

  private remove(cell: Cell): void {
    const entry = this.shown.get(cell);
    if (entry) {
      entry.end();
      entry.element.remove();
      this.shown.delete(cell);
    }
  }

  dispose(): void {
    cancelAnimationFrame(this.frame);
    this.model.changed.disconnect(this.paint, this);
    [...this.shown.keys()].forEach((cell) => this.remove(cell));
  }
}
