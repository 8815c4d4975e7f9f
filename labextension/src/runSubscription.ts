// Follows the run that is shown, from its events, and from its run document where events are missing.

import type { ApiClient, RunDocument, RunEvent } from "./api";
import { FINISHED, FINISHED_RUNS } from "./facts";
import type { StepStatus } from "./graph/documents";
import { mergeSteps } from "./graph/navigation";

export interface StepFailure {
  step: string;
  message: string;
}

export class RunSubscription {
  active = ""; // the id of the run that is shown, while it is active
  last: RunDocument | null = null; // the document of the active run, or of the newest run
  readonly otherRuns = new Set<string>(); // ids of further active runs
  readonly pastSeconds = new Map<string, number>(); // seconds that steps took in earlier runs
  private statusesSinceRequest: Record<string, StepStatus> = {};

  constructor(
    private readonly api: ApiClient,
    private readonly path: () => string,
    private readonly onStepFailed: (step: StepFailure) => void,
    private readonly onLoaded: () => void, // called when the document of a run that another client started was loaded
  ) {}

  reset(): void {
    this.active = "";
    this.last = null;
    this.otherRuns.clear();
    this.pastSeconds.clear();
  }

  // Handles a run event; returns true when the run that is shown, or a run that was not followed, has ended.
  handleEvent(event: RunEvent): boolean {
    const over = FINISHED_RUNS.has(event.state);
    if (this.active && event.run !== this.active) {
      // Two active runs: the first stays shown until it ends.
      over ? this.otherRuns.delete(event.run) : this.otherRuns.add(event.run);
      return false;
    }
    if (!this.active && this.last?.run === event.run && FINISHED_RUNS.has(this.last.state)) {
      return false; // a late event of a run whose end is known
    }
    if (!this.active && !over) {
      void this.follow(event.run).then(this.onLoaded, this.onLoaded);
    }
    this.updateRun(event);
    if (over) {
      this.active = "";
    }
    return over;
  }

  private updateRun(event: RunEvent): void {
    const known = this.last?.run === event.run ? this.last : emptyRun(event.run);
    const before = known.statuses.steps;
    Object.assign(this.statusesSinceRequest, event.statuses);
    this.last = { ...known, state: event.state, statuses: { ...known.statuses, steps: mergeSteps(before, event.statuses), headline: event.headline } };
    for (const [step, status] of Object.entries(event.statuses)) {
      if (status.state === "failed" && before[step]?.state !== "failed") {
        this.onStepFailed({ step, message: status.error?.message || status.detail || "failed" });
      }
    }
  }

  // Shows another run. Events contain changes only, so the run document is loaded once at the start.
  async follow(run: string): Promise<void> {
    this.otherRuns.delete(run);
    this.recordSeconds(this.last);
    this.active = run;
    this.statusesSinceRequest = {};
    if (this.last?.run !== run) {
      this.last = emptyRun(run);
    }
    await Promise.all([this.reload(), this.loadPastSeconds(run)]);
  }

  // Loads the document of the run that is shown; returns true when the run has ended. Throws if the server does not answer.
  async reload(): Promise<boolean> {
    const run = this.active;
    const path = this.path();
    this.statusesSinceRequest = {};
    const runDocument = await this.api.run(path, run);
    if (this.active !== run || this.path() !== path) {
      return false;
    }
    this.last = FINISHED_RUNS.has(runDocument.state) ? runDocument : mergeStatuses(runDocument, this.statusesSinceRequest);
    if (FINISHED_RUNS.has(runDocument.state)) {
      this.active = "";
      return true;
    }
    return false;
  }

  // Updates the state from the server's list of active runs and its newest run.
  async syncRuns(running: string[], newest: string | null): Promise<void> {
    if (this.active && !running.includes(this.active)) {
      await this.reload();
    }
    running.filter((runId) => runId !== this.active).forEach((runId) => this.otherRuns.add(runId));
    [...this.otherRuns].filter((runId) => !running.includes(runId)).forEach((runId) => this.otherRuns.delete(runId));
    if (!this.active && running.length) {
      await this.follow(running[0]);
    } else if (!this.active && newest && (this.last?.run !== newest || !FINISHED_RUNS.has(this.last.state))) {
      this.last = await this.api.run(this.path(), newest).catch(() => this.last);
    }
    this.recordSeconds(this.last);
  }

  private async loadPastSeconds(run: string): Promise<void> {
    if (this.pastSeconds.size) {
      return;
    }
    const earlier = (await this.api.runs(this.path()).catch(() => [])).find((summary) => summary.run !== run && summary.state === "succeeded");
    if (earlier) {
      this.recordSeconds(await this.api.run(this.path(), earlier.run).catch(() => null));
    }
  }

  private recordSeconds(run: RunDocument | null): void {
    for (const [step, status] of Object.entries(run?.statuses.steps ?? {})) {
      const seconds = status.state === "succeeded" ? status.seconds : status.saved;
      if (seconds !== undefined) {
        this.pastSeconds.set(step, seconds);
      }
    }
  }
}

function emptyRun(run: string): RunDocument {
  return { run, state: "running", statuses: { steps: mergeSteps() }, timeline: [], graph: null };
}

// Merges events that arrived during a request into its run document; steps that are finished in the document stay as they are.
function mergeStatuses(runDocument: RunDocument, statuses: Record<string, StepStatus>): RunDocument {
  const steps = mergeSteps(runDocument.statuses.steps);
  for (const [step, status] of Object.entries(statuses)) {
    if (!FINISHED.has(steps[step]?.state ?? "")) {
      steps[step] = status;
    }
  }
  return { ...runDocument, statuses: { ...runDocument.statuses, steps } };
}
