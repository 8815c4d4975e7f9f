// The run of a notebook that is shown: one at a time, from its events, and from its document where events are missing.

import type { Api, RunDocument, RunTold } from "./api";
import type { StepStatus } from "./graph/types";
import { merged } from "./graph/ways";

export const OVER = new Set(["succeeded", "failed", "cancelled", "lost"]);
const FINISHED = new Set(["succeeded", "reused", "failed", "blocked", "skipped", "cancelled", "lost"]);

export interface FailedStep {
  step: string;
  message: string;
}

export class Following {
  active = ""; // the run that is shown, while it goes on
  last: RunDocument | null = null; // what is known of it, or of the newest one
  readonly others = new Set<string>(); // further runs that go on
  readonly past = new Map<string, number>(); // seconds that steps took in earlier runs
  private heardSince: Record<string, StepStatus> = {};

  constructor(
    private readonly api: Api,
    private readonly path: () => string,
    private readonly failed: (step: FailedStep) => void,
    private readonly looked: () => void, // the document of a run that somebody else started has come
  ) {}

  forget(): void {
    this.active = "";
    this.last = null;
    this.others.clear();
    this.past.clear();
  }

  // Takes a piece of news; true when the run that is shown, or one that nobody saw beginning, is over.
  hear(told: RunTold): boolean {
    const over = OVER.has(told.state);
    if (this.active && told.run !== this.active) {
      // Two runs at once: the one that is shown stays, until it ends.
      over ? this.others.delete(told.run) : this.others.add(told.run);
      return false;
    }
    if (!this.active && this.last?.run === told.run && OVER.has(this.last.state)) {
      return false; // late news of a run whose end is known
    }
    if (!this.active && !over) {
      void this.follow(told.run).then(this.looked, this.looked);
    }
    this.apply(told);
    if (over) {
      this.active = "";
    }
    return over;
  }

  private apply(told: RunTold): void {
    const known = this.last?.run === told.run ? this.last : emptyRun(told.run);
    const before = known.statuses.steps;
    Object.assign(this.heardSince, told.statuses);
    this.last = { ...known, state: told.state, statuses: { ...known.statuses, steps: merged(before, told.statuses), headline: told.headline } };
    for (const [step, one] of Object.entries(told.statuses)) {
      if (one.state === "failed" && before[step]?.state !== "failed") {
        this.failed({ step, message: one.error?.message || one.detail || "failed" });
      }
    }
  }

  // Shows another run. Its events tell changes only: what was before them is asked for, once.
  async follow(run: string): Promise<void> {
    this.others.delete(run);
    this.remember(this.last);
    this.active = run;
    this.heardSince = {};
    if (this.last?.run !== run) {
      this.last = emptyRun(run);
    }
    await Promise.all([this.look(), this.learn(run)]);
  }

  // Asks for the document of the run that is shown; true when it has ended. A server that does not answer is an error.
  async look(): Promise<boolean> {
    const run = this.active;
    const path = this.path();
    this.heardSince = {};
    const found = await this.api.run(path, run);
    if (this.active !== run || this.path() !== path) {
      return false;
    }
    this.last = OVER.has(found.state) ? found : withNews(found, this.heardSince);
    if (OVER.has(found.state)) {
      this.active = "";
      return true;
    }
    return false;
  }

  // What the server says runs, and what ran last.
  async take(running: string[], newest: string | null): Promise<void> {
    if (this.active && !running.includes(this.active)) {
      await this.look();
    }
    running.filter((one) => one !== this.active).forEach((one) => this.others.add(one));
    [...this.others].filter((one) => !running.includes(one)).forEach((one) => this.others.delete(one));
    if (!this.active && running.length) {
      await this.follow(running[0]);
    } else if (!this.active && newest && (this.last?.run !== newest || !OVER.has(this.last.state))) {
      this.last = await this.api.run(this.path(), newest).catch(() => this.last);
    }
    this.remember(this.last);
  }

  private async learn(run: string): Promise<void> {
    if (this.past.size) {
      return;
    }
    const earlier = (await this.api.runs(this.path()).catch(() => [])).find((one) => one.run !== run && one.state === "succeeded");
    if (earlier) {
      this.remember(await this.api.run(this.path(), earlier.run).catch(() => null));
    }
  }

  private remember(run: RunDocument | null): void {
    for (const [step, one] of Object.entries(run?.statuses.steps ?? {})) {
      const seconds = one.state === "succeeded" ? one.seconds : one.saved;
      if (seconds !== undefined) {
        this.past.set(step, seconds);
      }
    }
  }
}

function emptyRun(run: string): RunDocument {
  return { run, state: "running", statuses: { steps: merged() }, timeline: [], graph: null };
}

// A document, and events that came while it was on its way: what is finished in it was told of before.
function withNews(found: RunDocument, news: Record<string, StepStatus>): RunDocument {
  const steps = merged(found.statuses.steps);
  for (const [step, one] of Object.entries(news)) {
    if (!FINISHED.has(steps[step]?.state ?? "")) {
      steps[step] = one;
    }
  }
  return { ...found, statuses: { ...found.statuses, steps } };
}
