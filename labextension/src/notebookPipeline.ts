// The pipeline of an open notebook: its graph, the plan of the next run, and the status of runs.

import type { NotebookPanel } from "@jupyterlab/notebook";
import { ServerConnection } from "@jupyterlab/services";
import { ISignal, Signal } from "@lumino/signaling";
import { ApiClient, ApiError } from "./api";
import type { CellRole, CellText, PipelineDiagnostic, GraphResponse, RunRequest, RunDocument, RunSummary, RunEvent } from "./api";
import { RunSubscription } from "./runSubscription";
import { planSummary, timeLeft, shownStatus } from "./planStatus";
import type { GraphDocument, StatusDocument, StepStatus } from "./graph/documents";
import { mergeSteps } from "./graph/navigation";
import { BackoffPoller } from "./poller";

export const NO_STEPS = "JP105";
const NO_ANSWER = "The server does not answer. What runs goes on without it; it is asked again in a moment.";

export interface ModelSettings {
  pause: number;
  jobs: number;
}

export class NotebookPipeline {
  graph: GraphDocument | null = null;
  faults: PipelineDiagnostic[] = [];
  cells: Record<string, CellRole> = {};
  runs: RunSummary[] = [];
  parameters: Record<string, string> = {};
  selected = "";
  problem = "";
  isOutdated = false; // the cells are invalid at the moment: the graph is the last valid one
  private readonly subscription: RunSubscription;
  private readonly poller: BackoffPoller;
  private plannedStatuses: StatusDocument | null = null;
  private cachedStatuses: StatusDocument | null = null;
  private timer = 0;
  private requestCount = 0;
  private lastRequest = "";
  private readonly changeSignal = new Signal<this, void>(this);
  private readonly failureSignal = new Signal<this, { step: string; message: string }>(this);

  constructor(
    readonly panel: NotebookPanel,
    readonly api: ApiClient,
    private readonly settings: ModelSettings,
  ) {
    this.subscription = new RunSubscription(api, () => this.path, (step) => this.failureSignal.emit(step), () => this.onRunLoaded());
    this.poller = new BackoffPoller(() => !this.disposed && Boolean(this.active || this.problem), () => this.poll());
    document.addEventListener("visibilitychange", this.onVisibilityChange);
    void panel.context.ready.then(() => {
      if (!this.disposed) {
        panel.content.model?.contentChanged.connect(this.scheduleRefresh, this);
        panel.content.model?.sharedModel.changed.connect(this.scheduleRefresh, this);
        panel.context.pathChanged.connect(this.onPathChanged, this);
        panel.context.saveState.connect(this.onSaveState, this);
        void this.refresh();
      }
    });
    panel.disposed.connect(this.dispose, this);
  }

  get disposed(): boolean {
    return this.panel.isDisposed || this.wasDisposed;
  }

  private wasDisposed = false;

  // Emitted when something that is shown has changed.
  get changed(): ISignal<this, void> {
    return this.changeSignal;
  }

  get failed(): ISignal<this, { step: string; message: string }> {
    return this.failureSignal;
  }

  // The id of the active run, or an empty string.
  get active(): string {
    return this.subscription.active;
  }

  get last(): RunDocument | null {
    return this.subscription.last;
  }

  get path(): string {
    return this.panel.context.path;
  }

  cellTexts(): CellText[] {
    const shared = this.panel.content.model?.sharedModel;
    return (shared?.cells ?? []).map((cell) => ({
      id: cell.getId(),
      type: cell.cell_type as CellText["type"],
      source: cell.getSource(),
      tags: tagsOf(cell.getMetadata("tags")),
    }));
  }

  private scheduleRefresh(): void {
    window.clearTimeout(this.timer);
    this.timer = window.setTimeout(() => void this.refresh(), this.settings.pause);
  }

  private refreshNow(): void {
    this.lastRequest = "";
    void this.refresh();
  }

  // A renamed notebook counts as another notebook, with runs of its own.
  private onPathChanged(): void {
    this.runs = [];
    this.plannedStatuses = null;
    this.subscription.reset();
    this.refreshNow();
  }

  private readonly onVisibilityChange = (): void => {
    if (document.visibilityState === "visible") {
      void this.refresh(true);
    }
  };

  private reportProblem(error: unknown): void {
    this.problem = error instanceof ServerConnection.NetworkError ? NO_ANSWER : messageOf(error);
    this.emitChanged();
  }

  private onSaveState(_: unknown, state: string): void {
    if (state === "completed") {
      this.refreshNow();
    }
  }

  // Reads the graph of the current cells from the server; a response is dropped if a later request was sent meanwhile.
  async refresh(force = false): Promise<void> {
    window.clearTimeout(this.timer);
    const cells = this.cellTexts();
    const requestKey = JSON.stringify([this.path, cells, this.parameters]);
    if (this.disposed || (requestKey === this.lastRequest && !force)) {
      return;
    }
    const requestNumber = (this.requestCount += 1);
    this.lastRequest = requestKey;
    try {
      const response = await this.api.readGraph(this.path, cells, this.parameters);
      if (requestNumber === this.requestCount && !this.disposed) {
        await this.applyResponse(response);
      }
    } catch (error) {
      if (requestNumber === this.requestCount) {
        this.lastRequest = "";
        this.reportProblem(error);
      }
    }
  }

  private async applyResponse(response: GraphResponse): Promise<void> {
    this.problem = "";
    this.faults = response.faults;
    this.cells = response.cells;
    this.graph = response.graph ?? this.graph;
    this.isOutdated = !response.graph && Boolean(this.graph?.rails.length);
    this.plannedStatuses = response.statuses;
    this.emitChanged();
    await this.subscription.syncRuns(response.active, response.last);
    this.emitChanged();
  }

  // The status of each step: of the active run; else of the last run, while that is valid; else of the plan.
  get statuses(): StatusDocument {
    if (!this.cachedStatuses) {
      const steps = mergeSteps();
      for (const name of this.graph?.rails.map((rail) => rail.id) ?? []) {
        steps[name] = this.statusOf(name);
      }
      const about = { run: this.last?.run ?? null, running: Boolean(this.active), critical: this.plannedStatuses?.critical ?? [] };
      this.cachedStatuses = { steps, ...about, headline: this.headline };
    }
    return this.cachedStatuses;
  }

  private statusOf(name: string): StepStatus {
    return shownStatus(this.plannedStatuses?.steps[name], this.last?.statuses.steps[name], Boolean(this.active));
  }

  get headline(): string {
    if (this.active) {
      const more = this.subscription.otherRuns.size ? `; ${this.subscription.otherRuns.size} more at work` : "";
      return (this.last?.statuses.headline || "running") + timeLeft(this.graph, this.last?.statuses.steps ?? {}, this.subscription.pastSeconds) + more;
    }
    if (this.faults.some((fault) => fault.severity === "error" && fault.code !== NO_STEPS)) {
      return "has faults";
    }
    return planSummary(this.graph, this.plannedStatuses);
  }

  // Handles a run event of the server.
  handleRunEvent(event: RunEvent): void {
    if (event.path === this.path) {
      const over = this.subscription.handleEvent(event);
      this.emitChanged();
      if (over) {
        void this.reloadAfterRun();
      }
    }
  }

  private onRunLoaded(): void {
    this.emitChanged();
    if (!this.active) {
      void this.reloadAfterRun();
    }
  }

  private async reloadAfterRun(): Promise<void> {
    await Promise.all([this.refresh(true), this.loadRuns()]);
  }

  // Events may be missing: after a restart of the server, after a suspend of the computer, or for runs of other clients.
  private async poll(): Promise<void> {
    if (!this.active) {
      return this.refresh(true);
    }
    try {
      const over = await this.subscription.reload();
      if (this.problem) {
        this.problem = "";
        void this.refresh(true);
      }
      this.emitChanged();
      return over ? await this.reloadAfterRun() : undefined;
    } catch (error) {
      this.reportProblem(error);
    }
  }

  async run(order: RunRequest = {}): Promise<void> {
    try {
      const more = this.settings.jobs > 0 ? { jobs: this.settings.jobs } : {};
      const { run } = await this.api.start(this.path, this.cellTexts(), { parameters: this.parameters, ...order }, more);
      this.problem = "";
      await this.subscription.follow(run);
      this.emitChanged();
      if (!this.active) {
        await this.reloadAfterRun();
      }
    } catch (error) {
      if (error instanceof ApiError && error.faults.length) {
        this.faults = error.faults;
      }
      this.reportProblem(error);
    }
  }

  async cancel(step: string | null = null): Promise<void> {
    const run = this.active;
    if (run) {
      await this.api.cancel(this.path, run, step).catch((error: unknown) => this.reportProblem(error));
    }
  }

  async loadRuns(): Promise<void> {
    try {
      this.runs = await this.api.runs(this.path);
      this.emitChanged();
    } catch (error) {
      this.reportProblem(error);
    }
  }

  // The newest run that executed the step: its log and its notebook are stored there.
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
    this.scheduleRefresh();
  }

  select(step: string): void {
    if (step !== this.selected) {
      this.selected = step;
      this.emitChanged();
    }
  }

  // Writes sources into cells. A single undo reverts them: the cell's own undo if one cell changed, else the notebook's.
  writeCells(sources: Record<string, string>): void {
    const shared = this.panel.content.model?.sharedModel;
    const changed = (shared?.cells ?? []).filter((cell) => (sources[cell.getId()] ?? cell.getSource()) !== cell.getSource());
    const work = () => changed.forEach((cell) => cell.setSource(sources[cell.getId()]));
    // Within a transaction of the notebook, cells do not record the change in their own undo histories.
    changed.length > 1 ? shared?.transact(work) : work();
  }

  indexOf(step: string): number {
    const id = Object.entries(this.cells).find(([, about]) => about.step === step)?.[0];
    return id ? this.indexOfCell(id) : -1;
  }

  indexOfCell(id: string): number {
    return (this.panel.content.model?.sharedModel.cells ?? []).findIndex((cell) => cell.getId() === id);
  }

  async show(index: number): Promise<void> {
    const notebook = this.panel.content;
    if (index >= 0 && index < notebook.widgets.length) {
      notebook.activeCellIndex = index;
      await notebook.scrollToItem(index, "smart");
      notebook.activate();
    }
  }

  private emitChanged(): void {
    this.cachedStatuses = null;
    if (!this.disposed) {
      this.changeSignal.emit();
      this.poller.start();
    }
  }

  dispose(): void {
    this.wasDisposed = true;
    window.clearTimeout(this.timer);
    this.poller.stop();
    document.removeEventListener("visibilitychange", this.onVisibilityChange);
    Signal.clearData(this);
  }
}

function tagsOf(tags: unknown): string[] {
  return Array.isArray(tags) ? tags.filter((tag): tag is string => typeof tag === "string") : [];
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
