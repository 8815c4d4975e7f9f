// The pipeline of one notebook that is open: what its cells say now, what a run would do, what runs do.

import type { NotebookPanel } from "@jupyterlab/notebook";
import { ISignal, Signal } from "@lumino/signaling";
import { Api, Refusal } from "./api";
import type { CellAbout, CellText, Fault, Looked, Order, RunDocument, RunSummary, RunTold } from "./api";
import type { Graph, Statuses, StepStatus } from "./graph/types";

const OVER = new Set(["succeeded", "failed", "cancelled", "lost"]);
const NOT_YET = new Set(["pending", "deciding", "ready"]);

export interface Choices {
  pause: number;
  jobs: number;
}

export class NotebookPipeline {
  graph: Graph | null = null;
  faults: Fault[] = [];
  cells: Record<string, CellAbout> = {};
  runs: RunSummary[] = [];
  parameters: Record<string, string> = {};
  selected = "";
  trouble = "";
  active = "";
  private planned: Statuses | null = null;
  private last: RunDocument | null = null;
  private timer = 0;
  private asked = 0;
  private posted = "";
  private readonly changes = new Signal<this, void>(this);
  private readonly failures = new Signal<this, { step: string; message: string }>(this);

  constructor(
    readonly panel: NotebookPanel,
    readonly api: Api,
    private readonly choices: Choices,
  ) {
    void panel.context.ready.then(() => {
      if (!this.disposed) {
        panel.content.model?.contentChanged.connect(this.later, this);
        panel.content.model?.sharedModel.changed.connect(this.later, this);
        panel.context.pathChanged.connect(this.now, this);
        panel.context.saveState.connect(this.saved, this);
        void this.refresh();
      }
    });
    panel.disposed.connect(this.dispose, this);
  }

  get disposed(): boolean {
    return this.panel.isDisposed || this.gone;
  }

  private gone = false;

  // Something that is shown has changed.
  get changed(): ISignal<this, void> {
    return this.changes;
  }

  get failed(): ISignal<this, { step: string; message: string }> {
    return this.failures;
  }

  get path(): string {
    return this.panel.context.path;
  }

  texts(): CellText[] {
    const shared = this.panel.content.model?.sharedModel;
    return (shared?.cells ?? []).map((cell) => ({
      id: cell.getId(),
      type: cell.cell_type as CellText["type"],
      source: cell.getSource(),
      tags: tagsOf(cell.getMetadata("tags")),
    }));
  }

  private later(): void {
    window.clearTimeout(this.timer);
    this.timer = window.setTimeout(() => void this.refresh(), this.choices.pause);
  }

  private now(): void {
    this.posted = "";
    void this.refresh();
  }

  private saved(_: unknown, state: string): void {
    if (state === "completed") {
      this.now();
    }
  }

  // Asks the server what the cells make; an answer that comes after a later question counts no more.
  async refresh(force = false): Promise<void> {
    window.clearTimeout(this.timer);
    const cells = this.texts();
    const mark = JSON.stringify([this.path, cells, this.parameters]);
    if (this.disposed || (mark === this.posted && !force)) {
      return;
    }
    const turn = (this.asked += 1);
    this.posted = mark;
    try {
      const looked = await this.api.look(this.path, cells, this.parameters);
      if (turn === this.asked && !this.disposed) {
        await this.take(looked);
      }
    } catch (error) {
      if (turn === this.asked) {
        this.posted = "";
        this.trouble = messageOf(error);
        this.tell();
      }
    }
  }

  private async take(looked: Looked): Promise<void> {
    this.trouble = "";
    this.faults = looked.faults;
    this.cells = looked.cells;
    this.graph = looked.graph ?? this.graph;
    this.planned = looked.statuses;
    const active = looked.active[0] ?? "";
    const wanted = active || looked.last || "";
    if (wanted && (this.last?.run !== wanted || active || !OVER.has(this.last.state))) {
      this.last = await this.api.run(this.path, wanted).catch(() => this.last);
    }
    this.active = active;
    this.tell();
  }

  // What is said of each step: what it does now; else how it went, while that is still true; else what a run would do.
  get statuses(): Statuses {
    const steps: Record<string, StepStatus> = {};
    for (const name of this.graph?.rails.map((one) => one.id) ?? []) {
      steps[name] = this.statusOf(name);
    }
    const about = { run: this.last?.run ?? null, running: Boolean(this.active), critical: this.planned?.critical ?? [] };
    return { steps, ...about, headline: this.headline };
  }

  private statusOf(name: string): StepStatus {
    const plan = this.planned?.steps[name];
    const ran = this.last?.statuses.steps[name];
    if (this.active && ran) {
      return NOT_YET.has(ran.state) && plan ? { ...plan, state: "waiting" } : ran;
    }
    if (!plan) {
      return ran ?? { state: "never run" };
    }
    const known = { decision: plan.decision, reason: plan.reason };
    if (plan.decision === "reuse") {
      return ran && (ran.state === "succeeded" || ran.state === "reused") ? { ...ran, ...known } : { ...plan };
    }
    if (ran && ran.state !== "succeeded" && ran.state !== "reused" && ran.key && ran.key === plan.key) {
      return { ...ran, ...known };
    }
    if (plan.reason?.code === "never-run") {
      return { ...plan, state: "never run" };
    }
    return { ...plan, state: plan.decision === "blocked" || plan.decision === "skip" ? plan.state : "stale" };
  }

  get headline(): string {
    if (this.active) {
      return this.last?.statuses.headline ?? "running";
    }
    const decisions = Object.values(this.planned?.steps ?? {}).map((one) => one.decision);
    const run = decisions.filter((one) => one === "run" || one === "maybe").length;
    const reuse = decisions.filter((one) => one === "reuse").length;
    if (!decisions.length) {
      return this.faults.some((one) => one.severity === "error") ? "has faults" : "";
    }
    return run ? `${run} to run, ${reuse} to reuse` : `all ${reuse} steps up to date`;
  }

  // The server says how a run gets on.
  heard(told: RunTold): void {
    if (told.path !== this.path) {
      return;
    }
    if (!this.last || this.last.run !== told.run) {
      this.last = { run: told.run, state: told.state, statuses: { steps: {} }, timeline: [], graph: null };
    }
    const failedNow = Object.entries(told.statuses).filter(([name, one]) => one.state === "failed" && this.last?.statuses.steps[name]?.state !== "failed");
    const steps = { ...this.last.statuses.steps, ...told.statuses };
    const finished = OVER.has(told.state);
    this.last = { ...this.last, state: told.state, statuses: { ...this.last.statuses, steps, headline: told.headline } };
    this.active = finished ? "" : told.run;
    this.tell();
    failedNow.forEach(([step, one]) => this.failures.emit({ step, message: one.error?.message || one.detail || "failed" }));
    if (finished) {
      void this.finish(told.run);
    }
  }

  private async finish(run: string): Promise<void> {
    this.last = await this.api.run(this.path, run).catch(() => this.last);
    await Promise.all([this.refresh(true), this.loadRuns()]);
  }

  async run(order: Order = {}): Promise<void> {
    try {
      const more = this.choices.jobs > 0 ? { jobs: this.choices.jobs } : {};
      const { run } = await this.api.start(this.path, this.texts(), { parameters: this.parameters, ...order }, more);
      this.active = run;
      this.trouble = "";
      this.last = await this.api.run(this.path, run).catch(() => this.last);
      if (this.last && OVER.has(this.last.state)) {
        this.active = "";
        await this.finish(run);
      }
    } catch (error) {
      this.trouble = messageOf(error);
      if (error instanceof Refusal && error.faults.length) {
        this.faults = error.faults;
      }
    }
    this.tell();
  }

  async cancel(step: string | null = null): Promise<void> {
    const run = this.active;
    if (run) {
      await this.api.cancel(this.path, run, step).catch((error: unknown) => {
        this.trouble = messageOf(error);
        this.tell();
      });
    }
  }

  async loadRuns(): Promise<void> {
    try {
      this.runs = await this.api.runs(this.path);
      this.tell();
    } catch (error) {
      this.trouble = messageOf(error);
    }
  }

  // The newest run that ran the step: there its log and its notebook are.
  runOf(step: string): string {
    const status = this.last?.statuses.steps[step];
    return status?.state === "reused" ? (status.origin?.run ?? "") : (this.last?.run ?? "");
  }

  setParameter(name: string, text: string | null): void {
    if (text === null) {
      delete this.parameters[name];
    } else {
      this.parameters[name] = text;
    }
    this.later();
  }

  select(step: string): void {
    if (step !== this.selected) {
      this.selected = step;
      this.tell();
    }
  }

  // Writes texts into cells, as one change that one undo takes back.
  write(sources: Record<string, string>): void {
    const shared = this.panel.content.model?.sharedModel;
    shared?.transact(() => {
      for (const cell of shared.cells) {
        const text = sources[cell.getId()];
        if (text !== undefined && text !== cell.getSource()) {
          cell.setSource(text);
        }
      }
    });
  }

  indexOf(step: string): number {
    const id = Object.entries(this.cells).find(([, about]) => about.step === step)?.[0];
    return id ? this.indexOfCell(id) : -1;
  }

  indexOfCell(id: string): number {
    return (this.panel.content.model?.sharedModel.cells ?? []).findIndex((one) => one.getId() === id);
  }

  async show(index: number): Promise<void> {
    const notebook = this.panel.content;
    if (index >= 0 && index < notebook.widgets.length) {
      notebook.activeCellIndex = index;
      await notebook.scrollToItem(index, "smart");
      notebook.activate();
    }
  }

  private tell(): void {
    if (!this.disposed) {
      this.changes.emit();
    }
  }

  dispose(): void {
    this.gone = true;
    window.clearTimeout(this.timer);
    Signal.clearData(this);
  }
}

function tagsOf(tags: unknown): string[] {
  return Array.isArray(tags) ? tags.filter((one): one is string => typeof one === "string") : [];
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
