// What a step is said to be, what a run would do, and how long what runs still takes.

import type { Graph, Statuses, StepStatus } from "./graph/types";
import { duration } from "./graph/words";

const NOT_YET = new Set(["pending", "deciding", "ready"]);
const WENT_WELL = new Set(["succeeded", "reused"]);
const DONE = new Set(["succeeded", "reused", "failed", "blocked", "skipped", "cancelled", "lost"]);

// What it does now; else how it went, while that is still true; else what a run would do.
export function statusOf(plan: StepStatus | undefined, ran: StepStatus | undefined, active: boolean): StepStatus {
  if (active && ran) {
    return NOT_YET.has(ran.state) ? { ...(plan ?? ran), state: "waiting" } : ran;
  }
  if (!plan) {
    return ran ?? { state: "never run" };
  }
  const known = { decision: plan.decision, next: plan.reason };
  if (plan.decision === "reuse") {
    return ran && WENT_WELL.has(ran.state) ? { ...ran, ...known } : { ...plan };
  }
  if (ran && !WENT_WELL.has(ran.state) && ran.key && ran.key === plan.key) {
    return { ...ran, ...known };
  }
  if (plan.reason?.code === "never-run") {
    return { ...plan, state: "never run" };
  }
  return { ...plan, state: plan.decision === "blocked" || plan.decision === "skip" ? plan.state : "stale" };
}

// "2 to run (fit, report), 4 to reuse": before anything is started.
export function foreseen(graph: Graph | null, planned: Statuses | null): string {
  const names = graph?.rails.map((one) => one.id) ?? [];
  if (!names.length) {
    return "";
  }
  const kept = planned ? names.filter((one) => planned.steps[one]?.decision === "reuse") : [];
  const run = names.filter((one) => !planned || ["run", "maybe"].includes(planned.steps[one]?.decision ?? ""));
  if (!run.length) {
    return kept.length === names.length ? `all ${names.length} steps up to date` : "";
  }
  const named = run.length <= 3 && run.length < names.length ? ` (${run.join(", ")})` : "";
  return `${run.length} to run${named}${kept.length ? `, ${kept.length} to reuse` : ""}`;
}

// Names of a step and of all it needs.
export function needsOf(graph: Graph, step: string): Set<string> {
  const found = new Set([step]);
  for (const { id } of [...graph.rails].reverse()) {
    if (found.has(id)) {
      graph.edges.filter((one) => one.to === id && !one.from.startsWith("file:")).forEach((one) => found.add(one.from));
    }
  }
  return found;
}

// ", about 12 s left", by what steps took earlier; nothing while one of them is unknown.
export function leftOf(graph: Graph | null, steps: Record<string, StepStatus>, past: Map<string, number>, now = Date.now()): string {
  const until = new Map<string, number>();
  for (const { id } of graph?.rails ?? []) {
    const own = remainder(steps[id], past.get(id), now);
    if (own === null) {
      return "";
    }
    const before = graph?.edges.filter((one) => one.to === id).map((one) => until.get(one.from) ?? 0) ?? [];
    until.set(id, own + Math.max(0, ...before));
  }
  const left = Math.max(0, ...until.values());
  return left >= 1 ? `, about ${duration(Math.round(left))} left` : "";
}

function remainder(status: StepStatus | undefined, past: number | undefined, now: number): number | null {
  if (!status || DONE.has(status.state)) {
    return 0;
  }
  if (past === undefined) {
    return null;
  }
  return status.state === "running" && status.since ? Math.max(0, past - (now - Date.parse(status.since)) / 1000) : past;
}
