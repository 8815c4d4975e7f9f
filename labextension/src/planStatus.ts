// Merges plan and run status of steps; summary of the plan, and estimated time left.

import { FINISHED, NOT_STARTED, SUCCESSFUL } from "./facts";
import type { GraphDocument, StatusDocument, StepStatus } from "./graph/documents";
import { formatDuration } from "./graph/format";

// The status in the active run; else in the last run, while that is valid; else in the plan.
export function shownStatus(plan: StepStatus | undefined, ran: StepStatus | undefined, active: boolean): StepStatus {
  if (active && ran) {
    return NOT_STARTED.has(ran.state) ? { ...(plan ?? ran), state: "waiting" } : ran;
  }
  if (!plan) {
    return ran ?? { state: "never run" };
  }
  const known = { decision: plan.decision, next: plan.reason };
  if (plan.decision === "reuse") {
    return ran && SUCCESSFUL.has(ran.state) ? { ...ran, ...known } : { ...plan };
  }
  if (ran && !SUCCESSFUL.has(ran.state) && ran.key && ran.key === plan.key) {
    return { ...ran, ...known };
  }
  if (plan.reason?.code === "never-run") {
    return { ...plan, state: "never run" };
  }
  return { ...plan, state: plan.decision === "blocked" || plan.decision === "skip" ? plan.state : "stale" };
}

// "2 to run (fit, report), 4 to reuse": before anything is started.
export function planSummary(graph: GraphDocument | null, planned: StatusDocument | null): string {
  const names = graph?.rails.map((rail) => rail.id) ?? [];
  if (!names.length) {
    return "";
  }
  const kept = planned ? names.filter((name) => planned.steps[name]?.decision === "reuse") : [];
  const run = names.filter((name) => !planned || ["run", "maybe"].includes(planned.steps[name]?.decision ?? ""));
  if (!run.length) {
    return kept.length === names.length ? `all ${names.length} steps up to date` : "";
  }
  const named = run.length <= 3 && run.length < names.length ? ` (${run.join(", ")})` : "";
  return `${run.length} to run${named}${kept.length ? `, ${kept.length} to reuse` : ""}`;
}

// Names of a step and of all its ancestors.
export function upstreamOf(graph: GraphDocument, step: string): Set<string> {
  const needed = new Set([step]);
  for (const { id } of [...graph.rails].reverse()) {
    if (needed.has(id)) {
      graph.edges.filter((edge) => edge.to === id && !edge.from.startsWith("file:")).forEach((edge) => needed.add(edge.from));
    }
  }
  return needed;
}

// ", about 12 s left", from the durations of earlier runs; empty while the duration of any step is unknown.
export function timeLeft(graph: GraphDocument | null, steps: Record<string, StepStatus>, past: Map<string, number>, now = Date.now()): string {
  const until = new Map<string, number>();
  for (const { id } of graph?.rails ?? []) {
    const own = remainingSeconds(steps[id], past.get(id), now);
    if (own === null) {
      return "";
    }
    const before = graph?.edges.filter((edge) => edge.to === id).map((edge) => until.get(edge.from) ?? 0) ?? [];
    until.set(id, own + Math.max(0, ...before));
  }
  const left = Math.max(0, ...until.values());
  return left >= 1 ? `, about ${formatDuration(Math.round(left))} left` : "";
}

function remainingSeconds(status: StepStatus | undefined, past: number | undefined, now: number): number | null {
  if (!status || FINISHED.has(status.state)) {
    return 0;
  }
  if (past === undefined) {
    return null;
  }
  return status.state === "running" && status.since ? Math.max(0, past - (now - Date.parse(status.since)) / 1000) : past;
}
