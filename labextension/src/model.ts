// The pipeline of one notebook that is open: what its cells say now, what a run would do, what runs do.

import type { NotebookPanel } from "@jupyterlab/notebook";
import { ServerConnection } from "@jupyterlab/services";
import { ISignal, Signal } from "@lumino/signaling";
import { Api, Refusal } from "./api";
import type { CellAbout, CellText, Fault, Looked, Order, RunDocument, RunSummary, RunTold } from "./api";
import { Following } from "./following";
import { foreseen, leftOf, statusOf } from "./foreseeing";
import type { Graph, Statuses, StepStatus } from "./graph/types";
import { merged } from "./graph/ways";
import { Pulse } from "./pulse";

export const NO_STEPS = "JP105";
const AWAY = "The server does not answer. What runs goes on without it; it is asked again in a moment.";

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
  isOld = false; // the cells make no pipeline just now: the graph is that of before
  private readonly following: Following;
  private readonly pulse: Pulse;
  private planned: Statuses | null = null;
  private made: Statuses | null = null;
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
    this.following = new Following(api, () => this.path, (step) => this.failures.emit(step), () => this.followed());
    this.pulse = new Pulse(() => !this.disposed && Boolean(this.active || this.trouble), () => this.ask());
    document.addEventListener("visibilitychange", this.seen);
    void panel.context.ready.then(() => {
      if (!this.disposed) {
        panel.content.model?.contentChanged.connect(this.later, this);
        panel.content.model?.sharedModel.changed.connect(this.later, this);
        panel.context.pathChanged.connect(this.renamed, this);
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

  // The run that goes on.
  get active(): string {
    return this.following.active;
  }

  get last(): RunDocument | null {
    return this.following.last;
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

  // Under another name it is another notebook, with runs of its own.
  private renamed(): void {
    this.runs = [];
    this.planned = null;
    this.following.forget();
    this.now();
  }

  private readonly seen = (): void => {
    if (document.visibilityState === "visible") {
      void this.refresh(true);
    }
  };

  private complain(error: unknown): void {
    this.trouble = error instanceof ServerConnection.NetworkError ? AWAY : messageOf(error);
    this.tell();
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
        this.complain(error);
      }
    }
  }

  private async take(looked: Looked): Promise<void> {
    this.trouble = "";
    this.faults = looked.faults;
    this.cells = looked.cells;
    this.graph = looked.graph ?? this.graph;
    this.isOld = !looked.graph && Boolean(this.graph?.rails.length);
    this.planned = looked.statuses;
    this.tell();
    await this.following.take(looked.active, looked.last);
    this.tell();
  }

  // What is said of each step: what it does now; else how it went, while that is still true; else what a run would do.
  get statuses(): Statuses {
    if (!this.made) {
      const steps = merged();
      for (const name of this.graph?.rails.map((one) => one.id) ?? []) {
        steps[name] = this.statusOf(name);
      }
      const about = { run: this.last?.run ?? null, running: Boolean(this.active), critical: this.planned?.critical ?? [] };
      this.made = { steps, ...about, headline: this.headline };
    }
    return this.made;
  }

  private statusOf(name: string): StepStatus {
    return statusOf(this.planned?.steps[name], this.last?.statuses.steps[name], Boolean(this.active));
  }

  get headline(): string {
    if (this.active) {
      const more = this.following.others.size ? `; ${this.following.others.size} more at work` : "";
      return (this.last?.statuses.headline || "running") + leftOf(this.graph, this.last?.statuses.steps ?? {}, this.following.past) + more;
    }
    if (this.faults.some((one) => one.severity === "error" && one.code !== NO_STEPS)) {
      return "has faults";
    }
    return foreseen(this.graph, this.planned);
  }

  // The server says how a run gets on.
  heard(told: RunTold): void {
    if (told.path === this.path) {
      const over = this.following.hear(told);
      this.tell();
      if (over) {
        void this.finish();
      }
    }
  }

  private followed(): void {
    this.tell();
    if (!this.active) {
      void this.finish();
    }
  }

  private async finish(): Promise<void> {
    await Promise.all([this.refresh(true), this.loadRuns()]);
  }

  // Nobody may have told: a server that was away, a computer that slept, a run of somebody else's.
  private async ask(): Promise<void> {
    if (!this.active) {
      return this.refresh(true);
    }
    try {
      const over = await this.following.look();
      if (this.trouble) {
        this.trouble = "";
        void this.refresh(true);
      }
      this.tell();
      return over ? await this.finish() : undefined;
    } catch (error) {
      this.complain(error);
    }
  }

  async run(order: Order = {}): Promise<void> {
    try {
      const more = this.choices.jobs > 0 ? { jobs: this.choices.jobs } : {};
      const { run } = await this.api.start(this.path, this.texts(), { parameters: this.parameters, ...order }, more);
      this.trouble = "";
      await this.following.follow(run);
      this.tell();
      if (!this.active) {
        await this.finish();
      }
    } catch (error) {
      if (error instanceof Refusal && error.faults.length) {
        this.faults = error.faults;
      }
      this.complain(error);
    }
  }

  async cancel(step: string | null = null): Promise<void> {
    const run = this.active;
    if (run) {
      await this.api.cancel(this.path, run, step).catch((error: unknown) => this.complain(error));
    }
  }

  async loadRuns(): Promise<void> {
    try {
      this.runs = await this.api.runs(this.path);
      this.tell();
    } catch (error) {
      this.complain(error);
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

  // Writes texts into cells: one undo takes them back, in the cell if it is one cell, else in the notebook.
  write(sources: Record<string, string>): void {
    const shared = this.panel.content.model?.sharedModel;
    const changed = (shared?.cells ?? []).filter((one) => (sources[one.getId()] ?? one.getSource()) !== one.getSource());
    const work = () => changed.forEach((one) => one.setSource(sources[one.getId()]));
    // Within a transaction of the notebook's, cells do not note the change in histories of their own.
    changed.length > 1 ? shared?.transact(work) : work();
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
    this.made = null;
    if (!this.disposed) {
      this.changes.emit();
      this.pulse.start();
    }
  }

  dispose(): void {
    this.gone = true;
    window.clearTimeout(this.timer);
    this.pulse.stop();
    document.removeEventListener("visibilitychange", this.seen);
    Signal.clearData(this);
  }
}

function tagsOf(tags: unknown): string[] {
  return Array.isArray(tags) ? tags.filter((one): one is string => typeof one === "string") : [];
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
